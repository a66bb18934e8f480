import { useState } from "preact/hooks";
import { ask, newKey } from "../api";
import { bitcoin, rupees, time } from "../format";
import { attempt, plans, refresh } from "../state";
import type { Plan } from "../types";

const FREQUENCIES = { DAILY: "each day", HOURLY: "each hour", WEEKLY: "each week", MONTHLY: "each month" };

export function Plans() {
  return (
    <section aria-label="Recurring plans">
      <h2>Recurring plans</h2>
      <NewPlan />
      <ul class="list">
        {plans.value.map((plan) => (
          <PlanRow key={plan.id} plan={plan} />
        ))}
      </ul>
    </section>
  );
}

function NewPlan() {
  const [rupeesEach, setRupeesEach] = useState("");
  const [frequency, setFrequency] = useState("DAILY");
  const [key, setKey] = useState(newKey);
  const begin = () =>
    attempt(async () => {
      const body = { plan_type: "DCA_BUY", frequency, amount_per_execution_inr: rupeesEach };
      await ask("/dca-plans", { body, key });
      setKey(newKey());
      await refresh();
      return "The plan has begun.";
    });
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        void begin();
      }}
    >
      <label>
        Rupees each time
        <input inputMode="numeric" required value={rupeesEach} onInput={(e) => setRupeesEach(e.currentTarget.value)} />
      </label>
      <label>
        How often
        <select value={frequency} onChange={(e) => setFrequency(e.currentTarget.value)}>
          {Object.entries(FREQUENCIES).map(([value, text]) => (
            <option key={value} value={value}>
              {text}
            </option>
          ))}
        </select>
      </label>
      <button type="submit">Begin plan</button>
    </form>
  );
}

function PlanRow({ plan }: { plan: Plan }) {
  const each =
    plan.amount_per_execution_inr === null
      ? bitcoin(plan.amount_per_execution_btc ?? 0)
      : rupees(plan.amount_per_execution_inr);
  const isActive = plan.status === "ACTIVE";
  const change = () =>
    attempt(async () => {
      const status = isActive ? "PAUSED" : "ACTIVE";
      const answer = await ask<{ message: string }>(`/dca-plans/${plan.id}/status`, { method: "PATCH", body: { status } });
      await refresh();
      return answer.message;
    });
  const end = () =>
    attempt(async () => {
      const answer = await ask<{ message: string }>(`/dca-plans/${plan.id}`, { method: "DELETE" });
      await refresh();
      return answer.message;
    });
  return (
    <li>
      <details>
        <summary>
          {each} {FREQUENCIES[plan.frequency as keyof typeof FREQUENCIES]}: {plan.status.toLowerCase()},{" "}
          {plan.performance.total_executed} runs, {bitcoin(plan.performance.total_btc)}
        </summary>
        <ul>
          {plan.recent_executions.map((run) => (
            <li key={run.due_at}>
              {time(run.due_at)}: {run.reason?.replaceAll("_", " ") ?? `${rupees(run.inr_amount ?? 0)} for ${bitcoin(run.btc_amount ?? 0)}`}
            </li>
          ))}
          {plan.next_execution_at && <li>Next: {time(plan.next_execution_at)}</li>}
        </ul>
      </details>
      {plan.status !== "COMPLETED" && (
        <button type="button" onClick={change}>
          {isActive ? "Pause plan" : "Resume plan"}
        </button>
      )}
      <button type="button" onClick={end}>
        End plan
      </button>
    </li>
  );
}
