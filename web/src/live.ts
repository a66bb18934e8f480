// The socket: prices for everyone, balances and transactions for who has logged in. It comes back by itself.

import { io } from "socket.io-client";
import { ask, getToken } from "./api";
import { forget, isOnline, loans, orders, outcome, plans, refresh, setBalance, setRates, status, transactions } from "./state";
import type { Balance, LimitOrder, Loan, MarketStatus, Plan, Rates, Transaction } from "./types";

const socket = io({ transports: ["websocket"] });

const WARNINGS: Record<string, string> = {
  margin_call: "A loan of yours is close to being liquidated. Repay, or pledge more.",
  partial_liquidation: "Some of the collateral of a loan of yours was sold.",
  full_liquidation: "All collateral of a loan of yours was sold.",
};

export function start(): void {
  socket.on("connect", () => {
    isOnline.value = true;
    authenticate();
  });
  socket.on("disconnect", () => (isOnline.value = false));
  socket.on("connect_error", () => (isOnline.value = false));
  socket.on("btc_price_update", (value: Rates) => setRates(value));
  // The event says what may change; the rest is of the first answer.
  socket.on("market_status", (value: MarketStatus) => (status.value = { ...status.value, ...value }));
  socket.on("user_balance_update", (value: Balance) => setBalance(value));
  socket.on("user_transaction_update", (value: { transactions: Transaction[] }) => {
    transactions.value = value.transactions;
    refresh().catch(() => undefined); // the next event, or a click, asks again
  });
  socket.on("user_order_update", ({ order }: { order: LimitOrder }) => {
    const others = orders.value.filter((each) => each.id !== order.id);
    orders.value = order.status === "OPEN" ? [order, ...others] : others;
  });
  socket.on("user_dca_plans_update", (value: { plans: Plan[] }) => (plans.value = value.plans));
  socket.on("user_loan_update", ({ loan, reason }: { loan: Loan; reason: string }) => {
    const others = loans.value.filter((each) => each.id !== loan.id);
    loans.value = loan.status === "ACTIVE" ? [loan, ...others] : others;
    if (WARNINGS[reason]) outcome.value = { text: WARNINGS[reason], isGood: false };
  });
  socket.on("authentication_error", () => {
    if (getToken()) forget();
  });
  readMarket();
}

/** Say whose socket this is; the server answers with what they hold. */
export function authenticate(): void {
  const token = getToken();
  if (token && socket.connected) socket.emit("authenticate", token);
}

/** Leave the user's room by coming anew. */
export function leave(): void {
  socket.disconnect().connect();
}

function readMarket(): void {
  ask<Rates>("/market-rates").then(setRates, () => undefined); // before the first price there is none
  ask<MarketStatus>("/market/status").then(
    (value) => (status.value = { ...value, ...status.value }),
    () => undefined,
  );
}
