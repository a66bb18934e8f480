import { useState } from "preact/hooks";
import { ask } from "../../api";
import { bitcoin, rupees, time } from "../../format";
import { useLoaded } from "../loading";
import { Table, WithReason } from "../parts";
import { isAdmin, me } from "../session";
import type { Approval } from "../types";

export const APPROVAL_HEAD = ["Number", "What", "Account", "Amount", "Reason", "Asked by", "When", "State"];

export function approvalRows(approvals: Approval[]) {
  return approvals.map((each) => [
    each.id,
    each.kind,
    <a href={`#/users/${each.user_id}`}>{each.user_email}</a>,
    amountOf(each),
    each.reason,
    each.requested_by.email,
    time(each.requested_at),
    each.decided_by ? `${each.status.toLowerCase()} by ${each.decided_by.email}` : each.status.toLowerCase(),
  ]);
}

function amountOf(approval: Approval): string {
  const parts = [
    approval.inr_amount > 0 && rupees(approval.inr_amount),
    approval.btc_amount > 0 && bitcoin(approval.btc_amount),
  ];
  return parts.filter(Boolean).join(" and ");
}

export function Approvals() {
  const [isAll, setAll] = useState(false);
  const [found, again] = useLoaded<{ approvals: Approval[] }>(`/admin/approvals?limit=100${isAll ? "" : "&status=PENDING"}`);
  const decide = (approval: Approval, how: "approve" | "reject") => async (reason: string) => {
    await ask(`/admin/approvals/${approval.id}/${how}`, { body: { reason } });
    await again();
    return how === "approve" ? `Approved, and done: ${amountOf(approval)}.` : "Rejected.";
  };
  const rows = found && approvalRows(found.approvals).map((row, place) => [...row, <Decision of={found.approvals[place]!} decide={decide} />]);
  return (
    <section aria-label="Approvals">
      <p class="muted">What is worth more than one admin may move waits here for a second one.</p>
      <label class="inline">
        <input type="checkbox" checked={isAll} onChange={(e) => setAll(e.currentTarget.checked)} />
        Also those that were decided
      </label>
      <Table name="Approvals" head={[...APPROVAL_HEAD, "Decision"]} rows={rows} />
    </section>
  );
}

function Decision(props: {
  of: Approval;
  decide: (approval: Approval, how: "approve" | "reject") => (reason: string) => Promise<string>;
}) {
  const { of } = props;
  if (of.status !== "PENDING") return <>{of.decision ?? "–"}</>;
  if (!isAdmin()) return <>waits for an admin</>;
  if (of.requested_by.id === me.value?.id || of.user_id === me.value?.id) return <>waits for another admin</>;
  return (
    <div class="row">
      <WithReason name="Approve" what={`${of.kind}, ${amountOf(of)}, ${of.user_email}`} act={props.decide(of, "approve")} />
      <WithReason name="Reject" act={props.decide(of, "reject")} />
    </div>
  );
}
