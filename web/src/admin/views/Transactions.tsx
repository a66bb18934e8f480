import { useState } from "preact/hooks";
import { ask, newKey } from "../../api";
import { bitcoin, rupees, time, typeName } from "../../format";
import { usePages } from "../loading";
import { Search, Table, WithReason } from "../parts";
import { isAdmin } from "../session";
import type { Page, Row } from "../types";

export const TRANSACTION_HEAD = ["Number", "When", "What", "Rupees", "Bitcoin", "Price", "State"];

export function rowsOf(transactions: Row[]) {
  return transactions.map((row) => [
    row.id,
    time(row.created_at),
    typeName(row.type),
    row.inr_amount === 0 ? "–" : rupees(row.inr_amount),
    row.btc_amount === 0 ? "–" : bitcoin(row.btc_amount),
    row.execution_price === null ? "–" : rupees(row.execution_price),
    row.status.toLowerCase(),
  ]);
}

export function Transactions() {
  const [words, setWords] = useState("");
  const search = words ? `&search=${encodeURIComponent(words)}` : "";
  const { rows, more, again } = usePages<Page & { transactions: Row[] }, Row>(
    `/admin/transactions?limit=50${search}`,
    (page) => page.transactions,
  );
  const cells =
    rows &&
    rowsOf(rows).map((row, place) => [
      ...row,
      <a href={`#/users/${rows[place]!.user_id}`}>{rows[place]!.user_email}</a>,
      isAdmin() && rows[place]!.status === "EXECUTED" ? <Reverse of={rows[place]!} again={again} /> : "",
    ]);
  return (
    <section aria-label="Transactions">
      <Search name="E-mail, name or number of the owner" onSearch={setWords} />
      <Table name="Transactions" head={[...TRANSACTION_HEAD, "Account", "Correction"]} rows={cells} />
      {more && (
        <button type="button" onClick={more}>
          Older
        </button>
      )}
    </section>
  );
}

function Reverse({ of, again }: { of: Row; again: () => Promise<void> }) {
  const [key, setKey] = useState(newKey);
  const act = async (reason: string) => {
    const answer = await ask<{ message: string }>(`/admin/transactions/${of.id}/reverse`, { body: { reason }, key });
    setKey(newKey());
    await again();
    return `${answer.message}.`;
  };
  return <WithReason name="Reverse" what={`Post the opposite of transaction ${of.id}?`} act={act} />;
}
