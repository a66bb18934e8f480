import { useState } from "preact/hooks";
import { ask, getToken, Refusal } from "../api";
import { bitcoin, rupees, time, typeName } from "../format";
import { attempt, transactions } from "../state";
import type { Transaction } from "../types";

export function Transactions() {
  const [older, setOlder] = useState<Transaction[]>([]);
  const [hasMore, setHasMore] = useState(true);
  const newest = transactions.value;
  const lowest = Math.min(...newest.map((row) => row.id));
  const rows = [...newest, ...older.filter((row) => row.id < lowest)];

  const more = () =>
    attempt(async () => {
      const settled = rows.filter((row) => row.status !== "PENDING");
      const last = settled[settled.length - 1];
      const from = last ? `&before_id=${last.id}` : "";
      const page = await ask<{ transactions: Transaction[]; hasMore: boolean }>(`/transactions?limit=50${from}`);
      setOlder([...older, ...page.transactions]);
      setHasMore(page.hasMore);
      return `${page.transactions.length} older transactions.`;
    });

  return (
    <section aria-label="Transactions" class="wide">
      <h2>Transactions</h2>
      {rows.length === 0 ? (
        <p class="muted">None yet.</p>
      ) : (
        <div class="scroll" tabIndex={0} role="group" aria-label="All transactions">
          <table>
            <thead>
              <tr>
                <th scope="col">When</th>
                <th scope="col">What</th>
                <th scope="col">Rupees</th>
                <th scope="col">Bitcoin</th>
                <th scope="col">Price</th>
                <th scope="col">State</th>
              </tr>
            </thead>
            <tbody>
              {rows.map((row) => (
                <tr key={row.id}>
                  <td>{time(row.created_at)}</td>
                  <td>{typeName(row.type)}</td>
                  <td>{row.inr_amount === 0 ? "–" : rupees(row.inr_amount)}</td>
                  <td>{row.btc_amount === 0 ? "–" : bitcoin(row.btc_amount)}</td>
                  <td>{row.execution_price === null ? "–" : rupees(row.execution_price)}</td>
                  <td>{row.status.toLowerCase()}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      <div class="row">
        {hasMore && rows.length >= 15 && (
          <button type="button" onClick={more}>
            Older
          </button>
        )}
        <button type="button" onClick={() => attempt(download)}>
          Save as CSV
        </button>
      </div>
    </section>
  );
}

/** A link could not carry the token, which is in no cookie. */
async function download(): Promise<string> {
  const answer = await fetch("/api/transactions.csv", { headers: { Authorization: `Bearer ${getToken()}` } });
  if (!answer.ok) throw new Refusal(answer.status, "error", "The history could not be read. Please try again.");
  const address = URL.createObjectURL(await answer.blob());
  const link = Object.assign(document.createElement("a"), { href: address, download: "bittrade-transactions.csv" });
  link.click();
  URL.revokeObjectURL(address);
  return "The history is saved.";
}
