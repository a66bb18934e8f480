// Buying and selling. First a quote (or, for a limit order, a preview) with both sides, then a click that confirms it.
// The key of the order is made with the quote: however often it is confirmed or sent again, it executes once.

import { useState } from "preact/hooks";
import { ask, newKey, Refusal } from "../api";
import { bitcoin, rupees, SATOSHIS_PER_BTC } from "../format";
import { attempt, balance, now, orders, refresh, setBalance } from "../state";
import type { Balance, LimitOrder, Preview, Quote } from "../types";

type Side = "buy" | "sell";
type Unit = "inr" | "btc";

interface Offer {
  side: Side;
  path: string;
  body: Record<string, unknown>;
  key: string;
  preview: Preview;
  price: number;
  /** By this machine's clock; null for a limit order, which waits. */
  until: number | null;
}

export function OrderForm() {
  const [amount, setAmount] = useState("");
  const [unit, setUnit] = useState<Unit>("inr");
  const [limit, setLimit] = useState("");
  const [isLimit, setIsLimit] = useState(false);
  const [offer, setOffer] = useState<Offer | null>(null);
  const [isBusy, setBusy] = useState(false);

  const prepare = (side: Side) =>
    attempt(async () => {
      setOffer(null);
      if (amount.trim() === "") throw new Refusal(400, "missing_fields", "Say how much, please.");
      setOffer(isLimit ? await previewLimit(side, amount, unit, limit) : await askQuote(side, amount, unit));
      return `Please confirm: ${side} ${unit === "inr" ? "₹" : "₿"}${amount}.`;
    });

  const confirm = async () => {
    if (offer === null || isBusy) return; // a double click is one click
    setBusy(true);
    await attempt(async () => {
      const done = await ask<Preview & { status: string; updated_balance: Balance }>(offer.path, {
        body: offer.body,
        key: offer.key,
      });
      setBalance(done.updated_balance);
      return describe(offer, done);
    });
    setBusy(false);
    setOffer(null);
    refresh().catch(() => undefined);
  };

  return (
    <section aria-label="Order">
      <h2>Order</h2>
      <form onSubmit={(event) => event.preventDefault()}>
        <label>
          Amount
          <input inputMode="decimal" value={amount} onInput={(e) => setAmount(e.currentTarget.value)} />
        </label>
        <label>
          in
          <select value={unit} onChange={(e) => setUnit(e.currentTarget.value as Unit)}>
            <option value="inr">₹ rupees</option>
            <option value="btc">₿ bitcoin</option>
          </select>
        </label>
        <label class="inline">
          <input type="checkbox" checked={isLimit} onChange={(e) => setIsLimit(e.currentTarget.checked)} />
          At a limit
        </label>
        {isLimit && (
          <label>
            Limit price
            <input inputMode="numeric" value={limit} onInput={(e) => setLimit(e.currentTarget.value)} />
          </label>
        )}
        <Share unit={unit} onChange={setAmount} />
        <div class="row">
          <button type="button" class="buy" onClick={() => prepare("buy")}>
            Buy
          </button>
          <button type="button" class="sell" onClick={() => prepare("sell")}>
            Sell
          </button>
        </div>
      </form>
      {offer && <Confirmation offer={offer} isBusy={isBusy} onConfirm={confirm} onLeave={() => setOffer(null)} />}
    </section>
  );
}

/** A slider over what is in hand: all of it at its end. */
function Share(props: { unit: Unit; onChange: (amount: string) => void }) {
  const held = props.unit === "inr" ? balance.value?.available_inr : balance.value?.available_btc;
  const set = (percent: number) => {
    const units = Math.floor(((held ?? 0) * percent) / 100);
    props.onChange(props.unit === "inr" ? String(units) : bitcoin(units).slice(1));
  };
  return (
    <label>
      Share of what is in hand
      <input type="range" min="0" max="100" step="5" defaultValue="0" onInput={(e) => set(Number(e.currentTarget.value))} />
    </label>
  );
}

function Confirmation(props: { offer: Offer; isBusy: boolean; onConfirm: () => void; onLeave: () => void }) {
  const { offer } = props;
  const leftS = offer.until === null ? null : Math.max(0, Math.ceil((offer.until - now.value) / 1000));
  const isOver = leftS === 0;
  return (
    <div class="offer" data-testid="offer">
      <p>
        You {offer.side === "buy" ? "pay" : "get"} <strong>{rupees(offer.preview.inr_amount)}</strong> and{" "}
        {offer.side === "buy" ? "get" : "give"} <strong>{bitcoin(offer.preview.btc_amount)}</strong>, at{" "}
        {rupees(offer.price)} for one bitcoin{offer.until === null && " or better, once the price is there"}.
      </p>
      {leftS !== null && <p data-testid="countdown">{isOver ? "This quote has run out." : `Firm for ${leftS} s`}</p>}
      <div class="row">
        <button type="button" class="primary" disabled={props.isBusy || isOver} onClick={props.onConfirm}>
          Confirm
        </button>
        <button type="button" onClick={props.onLeave}>
          Back
        </button>
      </div>
    </div>
  );
}

async function askQuote(side: Side, amount: string, unit: Unit): Promise<Offer> {
  const quote = await ask<Quote>("/quote", { method: "POST" });
  const askedAt = Date.now();
  const body = { action: side, type: "market", amount, currency: unit, quote_id: quote.quote_id };
  const preview = await ask<Preview>("/trade/preview", { body });
  const price = side === "buy" ? quote.buy_rate_inr : quote.sell_rate_inr;
  return { side, path: "/trade", body, key: newKey(), preview, price, until: askedAt + quote.expires_in_ms };
}

async function previewLimit(side: Side, amount: string, unit: Unit, limit: string): Promise<Offer> {
  const price = Number(limit.replaceAll(/[,\s₹]/g, ""));
  const body = { side, type: "limit", amount, currency: unit, limit_price: price };
  const preview = await ask<Preview>("/orders/preview", { body });
  return { side, path: "/orders", body, key: newKey(), preview, price, until: null };
}

function describe(offer: Offer, done: Preview & { status: string }): string {
  if (done.status === "OPEN") {
    orders.value = [done as unknown as LimitOrder, ...orders.value.filter((each) => each.id !== (done as unknown as LimitOrder).id)];
    return `The order waits for ${rupees(offer.price)}.`;
  }
  const price = Math.round((done.inr_amount * SATOSHIS_PER_BTC) / done.btc_amount);
  const verb = offer.side === "buy" ? "Bought" : "Sold";
  return `${verb} ${bitcoin(done.btc_amount)} for ${rupees(done.inr_amount)} (${rupees(price)} for one bitcoin).`;
}
