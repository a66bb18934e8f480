// Sending rupees or bitcoin to another user: at once and for good, so it is shown once more before it is done.

import { useState } from "preact/hooks";
import { ask, newKey, Refusal } from "../api";
import { bitcoin, rupees } from "../format";
import { attempt, refresh, setBalance } from "../state";
import type { Balance } from "../types";

interface Sent {
  recipient: { name: string; email: string };
  amount: number;
  currency: "inr" | "btc";
  updated_balance: Balance;
}

export function Transfers() {
  const [to, setTo] = useState("");
  const [amount, setAmount] = useState("");
  const [currency, setCurrency] = useState("inr");
  const [key, setKey] = useState<string | null>(null); // there is one while it waits for the second click
  const [isBusy, setBusy] = useState(false);

  const prepare = () =>
    attempt(async () => {
      if (to.trim() === "" || amount.trim() === "") throw new Refusal(400, "missing_fields", "Say to whom, and how much.");
      setKey(newKey());
      return `Please look once more: ${currency === "inr" ? "₹" : "₿"}${amount} to ${to}.`;
    });
  const send = async () => {
    if (isBusy || key === null) return; // a double click is one click
    setBusy(true);
    await attempt(async () => {
      const body = { recipientEmail: to, amount, currency };
      const sent = await ask<Sent>("/send-transaction", { body, key });
      setBalance(sent.updated_balance);
      setAmount("");
      const shown = sent.currency === "inr" ? rupees(sent.amount) : bitcoin(sent.amount);
      return `Sent ${shown} to ${sent.recipient.name} (${sent.recipient.email}).`;
    });
    setBusy(false);
    setKey(null);
    refresh().catch(() => undefined); // the next event, or a click, asks again
  };
  return (
    <section aria-label="Transfers">
      <h2>Send to another user</h2>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void prepare();
        }}
      >
        <label>
          Send to
          <input
            type="email"
            placeholder="somebody@example.com"
            required
            disabled={key !== null}
            value={to}
            onInput={(e) => setTo(e.currentTarget.value)}
          />
        </label>
        <label>
          How much to send
          <input inputMode="decimal" required disabled={key !== null} value={amount} onInput={(e) => setAmount(e.currentTarget.value)} />
        </label>
        <label>
          Of what
          <select value={currency} disabled={key !== null} onChange={(e) => setCurrency(e.currentTarget.value)}>
            <option value="inr">Rupees</option>
            <option value="btc">Bitcoin</option>
          </select>
        </label>
        {key === null && <button type="submit">Send</button>}
      </form>
      {key !== null && (
        <div class="offer">
          <p>
            <strong>
              {currency === "inr" ? "₹" : "₿"}
              {amount}
            </strong>{" "}
            to <strong>{to}</strong>. It cannot be taken back.
          </p>
          <div class="row">
            <button type="button" class="primary" disabled={isBusy} onClick={send}>
              Send now
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
