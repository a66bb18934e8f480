// Deposits and withdrawals. The key is made before the first click: a second one, and a repeated request, move nothing more.

import { useState } from "preact/hooks";
import { ask, newKey, Refusal } from "../../api";
import { bitcoin, rupees, satoshis } from "../../format";
import { attempt } from "../../outcome";

const KINDS = {
  "deposit-cash": "Deposit rupees",
  "withdraw-cash": "Withdraw rupees",
  "deposit-bitcoin": "Deposit bitcoin",
  "withdraw-bitcoin": "Withdraw bitcoin",
};
type Kind = keyof typeof KINDS;

export function MoveMoney(props: { userId: number; email: string; again: () => Promise<void> }) {
  const [kind, setKind] = useState<Kind>("deposit-cash");
  const [amount, setAmount] = useState("");
  const [reason, setReason] = useState("");
  const [key, setKey] = useState<string | null>(null); // there is one while it waits for being confirmed
  const [isBusy, setBusy] = useState(false);
  const isCash = kind.endsWith("cash");
  const units = isCash ? wholeRupees(amount) : satoshis(amount);
  const shown = units === null ? "" : isCash ? rupees(units) : bitcoin(units);

  const prepare = () =>
    attempt(async () => {
      if (units === null) throw new Refusal(400, "invalid_amount", isCash ? "Say how many whole rupees." : "Say how much bitcoin, to eight places.");
      setKey(newKey());
      return `Please confirm: ${KINDS[kind].toLowerCase()}, ${shown}.`;
    });
  const confirm = async () => {
    if (isBusy || key === null) return;
    setBusy(true);
    await attempt(async () => {
      const path = `/admin/users/${props.userId}/${kind}`;
      const answer = await ask<{ message: string }>(path, { body: { amount: units, reason }, key });
      setAmount("");
      setReason("");
      await props.again();
      return `${answer.message}.`;
    });
    setBusy(false);
    setKey(null);
  };
  return (
    <section aria-label="Move money">
      <h3>Deposit or withdraw</h3>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void prepare();
        }}
      >
        <label>
          What
          <select value={kind} disabled={key !== null} onChange={(e) => setKind(e.currentTarget.value as Kind)}>
            {Object.entries(KINDS).map(([value, text]) => (
              <option key={value} value={value}>
                {text}
              </option>
            ))}
          </select>
        </label>
        <label>
          Amount
          <input inputMode="decimal" required disabled={key !== null} value={amount} onInput={(e) => setAmount(e.currentTarget.value)} />
        </label>
        <label>
          Reason
          <input required maxLength={500} disabled={key !== null} value={reason} onInput={(e) => setReason(e.currentTarget.value)} />
        </label>
        {key === null && <button type="submit">Continue</button>}
      </form>
      {key !== null && (
        <div class="offer">
          <p>
            {KINDS[kind]}: <strong>{shown}</strong>, account of {props.email}.
          </p>
          <div class="row">
            <button type="button" class="primary" disabled={isBusy} onClick={confirm}>
              Confirm
            </button>
            <button type="button" onClick={() => setKey(null)}>
              Back
            </button>
          </div>
        </div>
      )}
    </section>
  );
}

function wholeRupees(text: string): number | null {
  const digits = text.replaceAll(/[,\s₹]/g, "");
  return /^\d{1,15}$/.test(digits) && Number(digits) > 0 ? Number(digits) : null;
}
