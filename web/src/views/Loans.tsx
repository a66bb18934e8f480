// Loans against bitcoin: their terms, a new one, and what can be done to each that runs.

import { useEffect, useState } from "preact/hooks";
import { ask, newKey, Refusal } from "../api";
import { bitcoin, rupees, satoshis } from "../format";
import { attempt, loans, refresh, setBalance } from "../state";
import type { Balance, Loan, LoanTerms } from "../types";

const STEPS = {
  repay: "Repay",
  borrow: "Borrow more",
  "add-collateral": "Pledge more",
  "withdraw-collateral": "Take back collateral",
};
type Step = keyof typeof STEPS;

export function Loans() {
  const [terms, setTerms] = useState<LoanTerms | null>(null);
  useEffect(() => {
    ask<LoanTerms>("/loans/terms").then(setTerms, () => undefined); // the form works without
  }, []);
  return (
    <section aria-label="Loans">
      <h2>Loans against bitcoin</h2>
      {terms && (
        <p class="muted">
          Up to {terms.max_ltv_pct} % of what is pledged, at {terms.yearly_rate_bps / 100} % a year. At {terms.margin_call_ltv_pct} % you
          are told, at {terms.liquidation_ltv_pct} % collateral is sold.
        </p>
      )}
      <NewLoan />
      <ul class="list">
        {loans.value.map((loan) => (
          <OneLoan key={loan.id} loan={loan} />
        ))}
      </ul>
    </section>
  );
}

/** Do one thing to a loan, once for one key, and show the balance that came of it. */
async function act(path: string, body: object, key: string): Promise<Loan> {
  const answer = await ask<Loan & { updated_balance: Balance }>(path, { body, key });
  setBalance(answer.updated_balance);
  await refresh();
  return answer;
}

function NewLoan() {
  const [pledge, setPledge] = useState("");
  const [wanted, setWanted] = useState("");
  const [key, setKey] = useState(newKey);
  const begin = () =>
    attempt(async () => {
      const body = { collateral_btc: readBitcoin(pledge), borrow_inr: readRupees(wanted) };
      const loan = await act("/loans", body, key);
      setKey(newKey());
      setPledge("");
      setWanted("");
      return `Borrowed ${rupees(body.borrow_inr)} against ${bitcoin(loan.collateral_btc)}.`;
    });
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        void begin();
      }}
    >
      <label>
        Bitcoin to pledge
        <input inputMode="decimal" required value={pledge} onInput={(e) => setPledge(e.currentTarget.value)} />
      </label>
      <label>
        Rupees to borrow
        <input inputMode="numeric" required value={wanted} onInput={(e) => setWanted(e.currentTarget.value)} />
      </label>
      <button type="submit">Borrow</button>
    </form>
  );
}

function OneLoan({ loan }: { loan: Loan }) {
  const [step, setStep] = useState<Step>("repay");
  const [amount, setAmount] = useState("");
  const [key, setKey] = useState(newKey);
  const isBitcoin = step.endsWith("collateral");
  const go = () =>
    attempt(async () => {
      const body = isBitcoin ? { collateral_btc: readBitcoin(amount) } : { amount_inr: readRupees(amount) };
      const after = await act(`/loans/${loan.id}/${step}`, body, key);
      setKey(newKey());
      setAmount("");
      if (after.status !== "ACTIVE") return "The loan has ended, and its collateral is back.";
      return after.debt_inr > 0 ? `Now ${rupees(after.debt_inr)} are owed.` : "Nothing is owed any more. The collateral can be taken back.";
    });
  return (
    <li>
      <span class={loan.margin_called_at ? "bad" : ""}>
        {rupees(loan.debt_inr)} owed against {bitcoin(loan.collateral_btc)}
        {loan.ltv_pct !== null && `, ${loan.ltv_pct} % of its worth`}
        {loan.liquidation_rate_inr !== null && `; sold from ${rupees(loan.liquidation_rate_inr)} for one bitcoin`}
        {loan.margin_called_at && ". Repay, or pledge more!"}
      </span>
      <form
        aria-label={`Loan ${loan.id}`}
        onSubmit={(event) => {
          event.preventDefault();
          void go();
        }}
      >
        <label>
          What to do
          <select value={step} onChange={(e) => setStep(e.currentTarget.value as Step)}>
            {Object.entries(STEPS).map(([value, text]) => (
              <option key={value} value={value}>
                {text}
              </option>
            ))}
          </select>
        </label>
        <label>
          {isBitcoin ? "How much bitcoin" : "How many rupees"}
          <input inputMode="decimal" required value={amount} onInput={(e) => setAmount(e.currentTarget.value)} />
        </label>
        <button type="submit">{STEPS[step]}</button>
      </form>
    </li>
  );
}

function readBitcoin(text: string): number {
  const found = satoshis(text);
  if (found === null) throw new Refusal(400, "invalid_amount", "Say how much bitcoin, to eight places.");
  return found;
}

function readRupees(text: string): number {
  const digits = text.replaceAll(/[,\s₹]/g, "");
  if (!/^[1-9]\d{0,14}$/.test(digits)) throw new Refusal(400, "invalid_amount", "Say how many whole rupees.");
  return Number(digits);
}
