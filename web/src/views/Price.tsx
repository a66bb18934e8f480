import { age, dollars, rupees } from "../format";
import { now, rates, ratesAt, status } from "../state";

export function Price() {
  const value = rates.value;
  return (
    <section aria-label="Price">
      <h2>Price</h2>
      {value === null ? <p>No price has been fetched yet.</p> : <Figures />}
    </section>
  );
}

function Figures() {
  const value = rates.value!;
  const ageMs = value.age_ms + (now.value - ratesAt.value);
  // It goes stale by itself, also where nobody is there to say so.
  const isStale = value.stale || ageMs > (status.value?.max_price_age_ms ?? Infinity);
  const spread = value.buy_rate_inr - value.sell_rate_inr;
  return (
    <>
      <dl class="figures">
        <div>
          <dt>You buy at</dt>
          <dd class="large" data-testid="buy-rate">
            {rupees(value.buy_rate_inr)}
          </dd>
        </div>
        <div>
          <dt>You sell at</dt>
          <dd class="large" data-testid="sell-rate">
            {rupees(value.sell_rate_inr)}
          </dd>
        </div>
        <div>
          <dt>Bitcoin in dollars</dt>
          <dd>{dollars(value.btc_usd_price)}</dd>
        </div>
        <div>
          <dt>Spread</dt>
          <dd>
            {rupees(spread)} ({((spread * 100) / value.buy_rate_inr).toFixed(2)} %)
          </dd>
        </div>
      </dl>
      <p class={isStale ? "muted bad" : "muted"}>
        {isStale ? "Too old to trade on: " : "Fresh: "}
        {age(ageMs)} old, from {value.source}
      </p>
    </>
  );
}
