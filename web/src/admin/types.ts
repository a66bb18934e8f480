// What the operators' API answers, as far as this page reads it. Rupees and satoshis are whole numbers.

export interface Page {
  hasMore: boolean;
  next_before_id: number | null;
}

export interface Somebody {
  id: number;
  name: string;
  email: string;
  inrBalance: number;
  btcBalance: number;
  role: string;
  disabled_at: string | null;
  created_at: string;
}

export interface Row {
  id: number;
  type: string;
  status: string;
  inr_amount: number;
  btc_amount: number;
  execution_price: number | null;
  created_at: string;
  user_id?: number;
  user_email?: string;
}

export interface Approval {
  id: number;
  kind: string;
  status: string;
  user_id: number;
  user_email: string;
  inr_amount: number;
  btc_amount: number;
  value_inr: number | null;
  reason: string;
  requested_by: { id: number; email: string };
  requested_at: string;
  decided_by: { id: number; email: string } | null;
  decision: string | null;
}

export interface AuditEvent {
  id: number;
  at: string;
  action: string;
  actor: string;
  user_id: number | null;
  address: string | null;
  facts: Record<string, unknown>;
}

export interface Source {
  name: string;
  price_order: number | null;
  breaker: string;
  failures_in_a_row: number;
  last_success_at: string | null;
  last_failure: string | null;
  drift_pct: number | null;
  succeeded: number;
  failed: number;
  calls_last_minute: number;
  calls_per_minute: number | null;
}

export interface Amounts {
  inr: number;
  btc: number;
}
