// What the page knows, as signals: views read them, and are drawn again when they change.

import { signal } from "@preact/signals";
import { ask, setToken } from "./api";
import { whenTokenEnds } from "./outcome";
import type { Balance, LimitOrder, Loan, MarketStatus, Plan, Portfolio, Rates, Transaction, User } from "./types";

export const rates = signal<Rates | null>(null);
/** When `rates` came, by this machine's clock: its age goes on from there. */
export const ratesAt = signal(0);
export const status = signal<MarketStatus | null>(null);
export const isOnline = signal(true);
export const now = signal(Date.now());
export const user = signal<User | null>(null);
export const balance = signal<Balance | null>(null);
export const portfolio = signal<Portfolio | null>(null);
export const transactions = signal<Transaction[]>([]);
export const orders = signal<LimitOrder[]>([]);
export const plans = signal<Plan[]>([]);
export const loans = signal<Loan[]>([]);

export { attempt, outcome } from "./outcome";
whenTokenEnds(() => forget());

setInterval(() => {
  now.value = Date.now();
}, 1000);

export function setRates(value: Rates): void {
  rates.value = value;
  ratesAt.value = Date.now();
}

/** An older balance than the one that is shown says nothing. */
export function setBalance(value: Balance): void {
  if (balance.value === null || value.seq >= balance.value.seq) balance.value = value;
}

export function forget(): void {
  setToken(null);
  user.value = null;
  balance.value = null;
  portfolio.value = null;
  transactions.value = [];
  orders.value = [];
  plans.value = [];
  loans.value = [];
}

/** Read everything of the user that no event brings. */
export async function refresh(): Promise<void> {
  if (user.value === null) return;
  const [held, open, recurring, owed] = await Promise.all([
    ask<Portfolio>("/portfolio"),
    ask<{ orders: LimitOrder[] }>("/orders?status=OPEN"),
    ask<{ plans: Plan[] }>("/dca-plans"),
    ask<{ loans: Loan[] }>("/loans?status=ACTIVE"),
  ]);
  portfolio.value = held;
  orders.value = open.orders;
  plans.value = recurring.plans;
  loans.value = owed.loans;
}
