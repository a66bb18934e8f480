// What the server sends, as far as the page reads it. Rupees and satoshis are whole numbers.

export interface Rates {
  btc_usd_price: number;
  buy_rate_inr: number;
  sell_rate_inr: number;
  source: string;
  as_of: string;
  age_ms: number;
  stale: boolean;
}

export interface MarketStatus {
  feed: string;
  trading: string;
  max_price_age_ms?: number;
}

export interface User {
  id: number;
  email: string;
  name: string;
}

export interface Balance {
  available_inr: number;
  available_btc: number;
  reserved_inr: number;
  reserved_btc: number;
  collateral_btc: number;
  borrowed_inr: number;
  interest_accrued: number;
  seq: number;
}

export interface Portfolio {
  value_inr: number | null;
  cost_inr: number;
  realised_gain_inr: number;
  unrealised_gain_inr: number | null;
}

export interface Transaction {
  id: number;
  type: string;
  status: string;
  inr_amount: number;
  btc_amount: number;
  execution_price: number | null;
  created_at: string;
}

export interface Quote {
  quote_id: string;
  buy_rate_inr: number;
  sell_rate_inr: number;
  expires_in_ms: number;
}

export interface Preview {
  inr_amount: number;
  btc_amount: number;
  execution_price?: number;
  reserved_inr?: number;
  reserved_btc?: number;
}

export interface LimitOrder {
  id: number;
  side: "buy" | "sell";
  status: string;
  limit_price: number;
  inr_amount: number;
  btc_amount: number;
  created_at: string;
}

export interface PlanRun {
  due_at: string;
  outcome: string;
  reason: string | null;
  inr_amount: number | null;
  btc_amount: number | null;
}

export interface Plan {
  id: number;
  plan_type: string;
  status: string;
  frequency: string;
  amount_per_execution_inr: number | null;
  amount_per_execution_btc: number | null;
  next_execution_at: string | null;
  remaining_executions: number | null;
  recent_executions: PlanRun[];
  performance: { total_executed: number; total_invested: number; total_btc: number; avg_price: number | null };
}

export interface ChartSeries {
  timeframe: string;
  price_change_pct: number | null;
  price_data: { timestamp: string; price: number }[];
}

export interface Sentiment {
  fear_greed_value: number;
  fear_greed_classification: string;
}

export interface Loan {
  id: number;
  status: string;
  collateral_btc: number;
  debt_inr: number;
  ltv_pct: number | null;
  liquidation_rate_inr: number | null;
  available_to_borrow_inr: number;
  margin_called_at: string | null;
}

export interface LoanTerms {
  max_ltv_pct: number;
  margin_call_ltv_pct: number;
  liquidation_ltv_pct: number;
  yearly_rate_bps: number;
}
