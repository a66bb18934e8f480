// All that support needs of one account, and what an admin may do to it.

import { useState } from "preact/hooks";
import { ask } from "../../api";
import { bitcoin, rupees, time } from "../../format";
import { attempt } from "../../outcome";
import { useLoaded } from "../loading";
import { Figures, Loading, Table, WithReason } from "../parts";
import { isAdmin } from "../session";
import { MoveMoney } from "./MoveMoney";
import { approvalRows, APPROVAL_HEAD } from "./Approvals";
import { auditRows, AUDIT_HEAD } from "./Audit";
import { rowsOf, TRANSACTION_HEAD } from "./Transactions";
import type { Approval, AuditEvent, Row, Somebody } from "../types";

interface Support {
  user: Somebody;
  balance: { available_inr: number; available_btc: number; reserved_inr: number; reserved_btc: number };
  portfolio: { value_inr: number | null; realised_gain_inr: number };
  transactions: Row[];
  orders: { id: number; type: string; limit_price: number; inr_amount: number; btc_amount: number; created_at: string }[];
  plans: { id: number; plan_type: string; status: string; frequency: string; next_execution_at: string | null }[];
  loans: { id: number; status: string; debt_inr: number; collateral_btc: number; ltv_pct: number | null }[];
  approvals: Approval[];
  sessions: { device: string | null; address: string | null; last_seen_at: string }[];
  keys: { id: number; name: string; scopes: string[]; expires_at: string }[];
  locks: { place: string; failures: number; locked_until: string | null }[];
  activity: AuditEvent[];
  notes: { id: number; note: string; author: string; created_at: string }[];
}

export function User({ id }: { id: number }) {
  const [found, again] = useLoaded<Support>(`/admin/users/${id}`, 60_000); // each look is in the audit log
  if (found === null) return <Loading />;
  return (
    <>
      <section aria-label="Account">
        <Figures
          of={[
            ["E-mail", found.user.email],
            ["Name", found.user.name],
            ["Role", found.user.role],
            ["State", found.user.disabled_at === null ? "open" : `disabled ${time(found.user.disabled_at)}`],
            ["Rupees", `${rupees(found.balance.available_inr)} (${rupees(found.balance.reserved_inr)} reserved)`],
            ["Bitcoin", `${bitcoin(found.balance.available_btc)} (${bitcoin(found.balance.reserved_btc)} reserved)`],
            ["Gain taken", rupees(found.portfolio.realised_gain_inr)],
          ]}
        />
        {isAdmin() && <Steps user={found.user} again={again} />}
      </section>
      {isAdmin() && <MoveMoney userId={id} email={found.user.email} again={again} />}
      <Notes userId={id} notes={found.notes} again={again} />
      <Lists of={found} />
    </>
  );
}

function Steps({ user, again }: { user: Somebody; again: () => Promise<void> }) {
  const step = (path: string, done: string) => async (reason: string) => {
    await ask(`/admin/users/${user.id}${path}`, { body: { reason } });
    await again();
    return done;
  };
  const shut = async (reason: string) => {
    await ask(`/admin/users/${user.id}?reason=${encodeURIComponent(reason)}`, { method: "DELETE" });
    await again();
    return "The account is disabled, and its tokens have ended.";
  };
  return (
    <div class="row">
      {user.disabled_at === null ? (
        <WithReason name="Disable" isDangerous what={`Shut the account of ${user.email}?`} act={shut} />
      ) : (
        <WithReason name="Enable" act={step("/enable", "The account is open again.")} />
      )}
      <WithReason name="Unlock" act={step("/unlock", "The locks are lifted.")} />
    </div>
  );
}

function Notes(props: { userId: number; notes: Support["notes"]; again: () => Promise<void> }) {
  const [note, setNote] = useState("");
  const add = () =>
    attempt(async () => {
      await ask(`/admin/users/${props.userId}/notes`, { body: { note } });
      setNote("");
      await props.again();
      return "The note is written.";
    });
  return (
    <section aria-label="Notes">
      <h3>Notes</h3>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void add();
        }}
      >
        <label>
          Note
          <input required maxLength={2000} value={note} onInput={(e) => setNote(e.currentTarget.value)} />
        </label>
        <button type="submit">Add note</button>
      </form>
      <ul class="list">
        {props.notes.map((each) => (
          <li key={each.id}>
            <span>{each.note}</span>
            <span class="muted">
              {each.author}, {time(each.created_at)}
            </span>
          </li>
        ))}
      </ul>
    </section>
  );
}

function Lists({ of }: { of: Support }) {
  return (
    <section aria-label="What belongs to it">
      <h3>Transactions</h3>
      <Table name="Transactions" head={TRANSACTION_HEAD} rows={rowsOf(of.transactions)} />
      <h3>Open orders</h3>
      <Table
        name="Open orders"
        head={["Number", "Kind", "Limit", "Rupees", "Bitcoin", "Since"]}
        rows={of.orders.map((each) => [each.id, each.type, rupees(each.limit_price), rupees(each.inr_amount), bitcoin(each.btc_amount), time(each.created_at)])}
      />
      <h3>Recurring plans</h3>
      <Table
        name="Recurring plans"
        head={["Number", "Kind", "State", "How often", "Next"]}
        rows={of.plans.map((each) => [each.id, each.plan_type, each.status, each.frequency, each.next_execution_at ? time(each.next_execution_at) : "–"])}
      />
      <h3>Loans</h3>
      <Table
        name="Loans"
        head={["Number", "State", "Owed", "Collateral", "LTV"]}
        rows={of.loans.map((each) => [each.id, each.status, rupees(each.debt_inr), bitcoin(each.collateral_btc), each.ltv_pct === null ? "–" : `${each.ltv_pct} %`])}
      />
      <h3>Approvals</h3>
      <Table name="Approvals" head={APPROVAL_HEAD} rows={approvalRows(of.approvals)} />
      <h3>Logged in</h3>
      <Table
        name="Logged in"
        head={["Device", "Address", "Last seen"]}
        rows={of.sessions.map((each) => [each.device ?? "–", each.address ?? "–", time(each.last_seen_at)])}
      />
      <h3>API keys</h3>
      <Table name="API keys" head={["Name", "May", "Until"]} rows={of.keys.map((each) => [each.name, each.scopes.join(", "), time(each.expires_at)])} />
      <h3>Failed logins</h3>
      <Table
        name="Failed logins"
        head={["From", "How many", "Locked until"]}
        rows={of.locks.map((each) => [each.place, each.failures, each.locked_until ? time(each.locked_until) : "–"])}
      />
      <h3>Activity</h3>
      <Table name="Activity" head={AUDIT_HEAD} rows={auditRows(of.activity)} />
    </section>
  );
}
