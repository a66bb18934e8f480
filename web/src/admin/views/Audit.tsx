import { useState } from "preact/hooks";
import { time } from "../../format";
import { usePages } from "../loading";
import { Search, Table } from "../parts";
import type { AuditEvent, Page } from "../types";

export const AUDIT_HEAD = ["When", "What", "Who", "Whom", "From", "Facts"];

export function auditRows(events: AuditEvent[]) {
  return events.map((event) => [
    time(event.at),
    event.action.replaceAll("_", " "),
    event.actor,
    event.user_id === null ? "–" : <a href={`#/users/${event.user_id}`}>user {event.user_id}</a>,
    event.address ?? "–",
    Object.entries(event.facts)
      .map(([name, value]) => `${name}: ${typeof value === "string" ? value : JSON.stringify(value)}`)
      .join("; "),
  ]);
}

export function Audit() {
  const [words, setWords] = useState("");
  const search = words ? `&actor=${encodeURIComponent(words)}` : "";
  const { rows, more } = usePages<Page & { events: AuditEvent[] }, AuditEvent>(
    `/admin/audit?limit=100${search}`,
    (page) => page.events,
  );
  return (
    <section aria-label="Audit">
      <Search name="Who did it" onSearch={setWords} />
      <Table name="Audit log" head={AUDIT_HEAD} rows={rows && auditRows(rows)} />
      {more && (
        <button type="button" onClick={more}>
          Older
        </button>
      )}
    </section>
  );
}
