import { time } from "../../format";
import { useLoaded } from "../loading";
import { Bars, State, Table } from "../parts";

interface Queues {
  redis: string;
  queues: { name: string; waiting: number; running: number; failed: number }[];
  workers: { host: string | null; pid: number | null; state: string | null; queues: string[]; last_heartbeat: string | null; succeeded: number; failed: number }[];
  overdue_jobs: string[] | null;
  next_runs: Record<string, string> | null;
}

interface Sockets {
  processes: ({ process: string; at: string; sockets: number; members: number } & Record<string, unknown>)[];
}

export function Machinery() {
  const [found] = useLoaded<Queues>("/admin/queues");
  const [sockets] = useLoaded<Sockets>("/admin/sockets", 15_000);
  return (
    <>
      <section aria-label="Queues">
        <h3>Queues</h3>
        {found && (
          <>
            <p>
              Redis: <State is={found.redis} isGood={found.redis === "connected"} />. Overdue:{" "}
              {found.overdue_jobs === null ? <State is="no scheduler runs" isGood={false} /> : found.overdue_jobs.join(", ") || "nothing"}.
            </p>
            <Bars
              name="Jobs by queue"
              series={["waiting", "running", "failed"]}
              bars={found.queues.map((each) => ({ name: each.name, values: [each.waiting, each.running, each.failed] }))}
              show={String}
            />
          </>
        )}
        <h3>Workers</h3>
        <Table
          name="Workers"
          head={["Host", "Process", "State", "Queues", "Heartbeat", "Succeeded", "Failed"]}
          rows={
            found &&
            found.workers.map((each) => [
              each.host ?? "–",
              each.pid ?? "–",
              each.state ?? "–",
              each.queues.join(", "),
              each.last_heartbeat ? time(each.last_heartbeat) : "–",
              each.succeeded,
              each.failed,
            ])
          }
        />
        <h3>What runs next</h3>
        <Table name="What runs next" head={["Job", "When"]} rows={found && Object.entries(found.next_runs ?? {}).map(([job, at]) => [job, time(at)])} />
      </section>
      <section aria-label="Sockets">
        <h3>Sockets</h3>
        <Bars
          name="Sockets by process"
          series={["sockets", "logged in"]}
          bars={(sockets?.processes ?? []).map((each) => ({ name: each.process, values: [each.sockets, each.members] }))}
          show={String}
        />
      </section>
    </>
  );
}
