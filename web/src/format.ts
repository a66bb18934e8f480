// How figures and times look to a person: ₹ in Indian grouping, bitcoin with eight places, times in their own zone.

export const SATOSHIS_PER_BTC = 100_000_000;

const rupeeFormat = new Intl.NumberFormat("en-IN", { style: "currency", currency: "INR", maximumFractionDigits: 0 });
const dollarFormat = new Intl.NumberFormat("en-US", { style: "currency", currency: "USD" });
const timeFormat = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

export const rupees = (amount: number): string => rupeeFormat.format(amount);
export const dollars = (amount: number): string => dollarFormat.format(amount);
export const time = (iso: string): string => timeFormat.format(new Date(iso));

/** 24420 → ₿0.00024420, by whole numbers alone. */
export function bitcoin(satoshis: number): string {
  const sign = satoshis < 0 ? "−" : "";
  const digits = String(Math.abs(satoshis)).padStart(9, "0");
  return `${sign}₿${digits.slice(0, -8)}.${digits.slice(-8)}`;
}

/** 65000 → 1 min. */
export function age(milliseconds: number): string {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 90) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${Math.round(minutes / 60)} h`;
}

const TYPES: Record<string, string> = {
  MARKET_BUY: "Bought",
  MARKET_SELL: "Sold",
  LIMIT_BUY: "Bought by limit order",
  LIMIT_SELL: "Sold by limit order",
  DCA_BUY: "Bought by plan",
  DCA_SELL: "Sold by plan",
  DEPOSIT_INR: "Deposit of rupees",
  DEPOSIT_BTC: "Deposit of bitcoin",
  WITHDRAW_INR: "Withdrawal of rupees",
  WITHDRAW_BTC: "Withdrawal of bitcoin",
  TRANSFER_IN: "Received",
  TRANSFER_OUT: "Sent",
  LOAN_CREATE: "Borrowed",
  LOAN_BORROW: "Borrowed more",
  LOAN_REPAY: "Repaid",
  LOAN_ADD_COLLATERAL: "Pledged more",
  LOAN_WITHDRAW_COLLATERAL: "Collateral taken back",
  INTEREST_ACCRUAL: "Interest",
  PARTIAL_LIQUIDATION: "Collateral sold",
  FULL_LIQUIDATION: "All collateral sold",
  REVERSAL: "Correction",
};

export const typeName = (type: string): string => TYPES[type] ?? type.toLowerCase().replaceAll("_", " ");

/** "0.0005" → 50000, by whole numbers alone; null where it is no amount of bitcoin above 0. */
export function satoshis(text: string): number | null {
  const found = /^₿?\s*(\d{0,8})(?:\.(\d{0,8}))?$/.exec(text.trim());
  if (!found) return null;
  const amount = Number(found[1] || "0") * SATOSHIS_PER_BTC + Number((found[2] ?? "").padEnd(8, "0"));
  return amount > 0 ? amount : null;
}
