import { age, time } from "../../format";
import { useLoaded } from "../loading";
import { State, Table } from "../parts";

interface Proofs {
  state: string;
  age_ms: number | null;
  unchained_users: number;
  proofs: { id: number; kind: string; began_at: string; ended_at: string | null; transactions: number | null; faults: number | null; first_fault: string | null }[];
}

export function Ledger() {
  const [found] = useLoaded<Proofs>("/admin/ledger", 15_000);
  return (
    <section aria-label="Proof of the books">
      {found && (
        <p>
          The proof of the books is <State is={found.state} isGood={found.state === "right"} />
          {found.age_ms === null ? "; none has ended yet." : `; the last ended ${age(found.age_ms)} ago.`}
          {found.unchained_users > 0 && ` ${found.unchained_users} histories are not chained up to their end.`}
        </p>
      )}
      <Table
        name="Proofs"
        head={["Number", "Kind", "Began", "Ended", "Transactions", "Faults", "The first"]}
        rows={
          found &&
          found.proofs.map((each) => [
            each.id,
            each.kind,
            time(each.began_at),
            each.ended_at ? time(each.ended_at) : "–",
            each.transactions ?? "–",
            each.faults ?? "–",
            each.first_fault ?? "–",
          ])
        }
      />
    </section>
  );
}
