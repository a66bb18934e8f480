import { time } from "../../format";
import { useLoaded } from "../loading";
import { Bars, State, Table } from "../parts";
import type { Source } from "../types";

interface Status {
  feed: string;
  trading: string;
  sources: Source[];
  prices: { latest: { at: string; provider: string; outcome: string; reason: string }[] };
}

export function Sources() {
  const [found] = useLoaded<Status>("/admin/sources");
  return (
    <section aria-label="Sources">
      {found && (
        <>
          <p>
            The price is <State is={found.feed} isGood={found.feed === "fresh"} />.
          </p>
          <Bars
            name="Answers by source"
            series={["succeeded", "failed"]}
            bars={found.sources.map((each) => ({ name: each.name, values: [each.succeeded, each.failed] }))}
            show={String}
          />
        </>
      )}
      <h3>Sources and their breakers</h3>
      <Table
        name="Sources and their breakers"
        head={["Source", "Asked as", "Breaker", "Failures in a row", "Drift", "Calls in the last minute", "Last success", "Last failure"]}
        rows={
          found &&
          found.sources.map((each) => [
            each.name,
            each.price_order ?? "–",
            <State is={each.breaker.replace("_", " ")} isGood={each.breaker === "closed"} />,
            each.failures_in_a_row,
            each.drift_pct === null ? "–" : `${each.drift_pct} %`,
            each.calls_per_minute === null ? each.calls_last_minute : `${each.calls_last_minute} of ${each.calls_per_minute}`,
            each.last_success_at ? time(each.last_success_at) : "–",
            each.last_failure ?? "–",
          ])
        }
      />
      <h3>Prices that were held or refused</h3>
      <Table
        name="Prices that were held or refused"
        head={["When", "Source", "Outcome", "Why"]}
        rows={found && found.prices.latest.map((each) => [time(each.at), each.provider, each.outcome, each.reason])}
      />
    </section>
  );
}
