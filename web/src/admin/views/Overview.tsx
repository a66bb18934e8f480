import { bitcoin, rupees } from "../../format";
import { useLoaded } from "../loading";
import { Bars, Figures, Loading } from "../parts";
import type { Amounts } from "../types";

interface Metrics {
  total_trades: number;
  total_volume: number;
  buy_volume: number;
  sell_volume: number;
  active_dca_plans: number;
  avg_daily_dca_amount: number;
  total_cash_deposits: number;
  total_cash_withdrawals: number;
  total_bitcoin_deposits: number;
  total_bitcoin_withdrawals: number;
  days: { day: string; trades: number; buy_volume: number; sell_volume: number; cash_deposits: number; cash_withdrawals: number }[];
}

interface Exposure {
  custody: Amounts;
  owed_to_customers: Amounts;
  trading_position: Amounts;
  lent_to_customers: { inr: number; collateral_btc: number };
  unrealised_gain_inr: number | null;
}

const EACH_MS = 15_000; // sums over all of the books

export function Overview() {
  const [metrics] = useLoaded<Metrics>("/admin/metrics", EACH_MS);
  const [exposure] = useLoaded<Exposure>("/admin/exposure", EACH_MS);
  return (
    <>
      <section aria-label="Exposure">
        <h3>What the house holds and owes</h3>
        {exposure ? <Holdings of={exposure} /> : <Loading />}
      </section>
      <section aria-label="Metrics">
        <h3>Trading</h3>
        {metrics ? <Trading of={metrics} /> : <Loading />}
      </section>
    </>
  );
}

function both(inr: number, btc: number) {
  return (
    <>
      {rupees(inr)}
      <br />
      {bitcoin(btc)}
    </>
  );
}

function Holdings({ of }: { of: Exposure }) {
  return (
    <>
      <Figures
        of={[
          ["In custody", both(of.custody.inr, of.custody.btc)],
          ["Owed to customers", both(of.owed_to_customers.inr, of.owed_to_customers.btc)],
          ["Position from trading", both(of.trading_position.inr, of.trading_position.btc)],
          ["Lent, and pledged for it", both(of.lent_to_customers.inr, of.lent_to_customers.collateral_btc)],
          ["Unrealised gain", of.unrealised_gain_inr === null ? "no price yet" : rupees(of.unrealised_gain_inr)],
        ]}
      />
      <Bars
        name="Rupees held and owed"
        series={["in custody", "owed to customers"]}
        bars={[{ name: "Rupees", values: [of.custody.inr, of.owed_to_customers.inr] }]}
        show={rupees}
      />
      <Bars
        name="Bitcoin held and owed"
        series={["in custody", "owed to customers"]}
        bars={[{ name: "Bitcoin", values: [of.custody.btc, of.owed_to_customers.btc] }]}
        show={bitcoin}
      />
    </>
  );
}

function Trading({ of }: { of: Metrics }) {
  return (
    <>
      <Figures
        of={[
          ["Trades", String(of.total_trades)],
          ["Volume", rupees(of.total_volume)],
          ["Deposited", both(of.total_cash_deposits, of.total_bitcoin_deposits)],
          ["Withdrawn", both(of.total_cash_withdrawals, of.total_bitcoin_withdrawals)],
          ["Active plans", `${of.active_dca_plans}, ${rupees(of.avg_daily_dca_amount)} a day`],
        ]}
      />
      <Bars
        name="Volume of the last 30 days"
        series={["bought", "sold"]}
        bars={of.days.map((day) => ({ name: day.day, values: [day.buy_volume, day.sell_volume] }))}
        show={rupees}
      />
      <Bars
        name="Deposits and withdrawals of the last 30 days"
        series={["deposited", "withdrawn"]}
        bars={of.days.map((day) => ({ name: day.day, values: [day.cash_deposits, day.cash_withdrawals] }))}
        show={rupees}
      />
    </>
  );
}
