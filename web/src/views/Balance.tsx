import { bitcoin, rupees } from "../format";
import { balance, portfolio } from "../state";

export function BalanceView() {
  const held = balance.value;
  const gain = portfolio.value?.unrealised_gain_inr ?? null;
  return (
    <section aria-label="Balance">
      <h2>Balance</h2>
      {held && (
        <dl class="figures">
          <Figure name="Rupees in hand" value={rupees(held.available_inr)} testId="available-inr" isLarge />
          <Figure name="Bitcoin in hand" value={bitcoin(held.available_btc)} testId="available-btc" isLarge />
          {held.reserved_inr > 0 && <Figure name="Rupees reserved by orders" value={rupees(held.reserved_inr)} />}
          {held.reserved_btc > 0 && <Figure name="Bitcoin reserved by orders" value={bitcoin(held.reserved_btc)} />}
          {held.collateral_btc > 0 && <Figure name="Bitcoin pledged" value={bitcoin(held.collateral_btc)} />}
          {held.borrowed_inr > 0 && <Figure name="Rupees owed" value={rupees(held.borrowed_inr)} />}
          {portfolio.value?.value_inr != null && <Figure name="Bitcoin is worth" value={rupees(portfolio.value.value_inr)} />}
          {gain !== null && <Figure name="Gain not taken" value={rupees(gain)} />}
          {portfolio.value && <Figure name="Gain taken" value={rupees(portfolio.value.realised_gain_inr)} />}
        </dl>
      )}
    </section>
  );
}

function Figure(props: { name: string; value: string; testId?: string; isLarge?: boolean }) {
  return (
    <div>
      <dt>{props.name}</dt>
      <dd class={props.isLarge ? "large" : ""} data-testid={props.testId}>
        {props.value}
      </dd>
    </div>
  );
}
