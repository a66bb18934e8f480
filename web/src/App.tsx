// The page: what everybody sees, and below it what belongs to who has logged in.

import type { ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Account } from "./views/Account";
import { BalanceView } from "./views/Balance";
import { ChartView } from "./views/Chart";
import { OpenOrders } from "./views/OpenOrders";
import { OrderForm } from "./views/Order";
import { Plans } from "./views/Plans";
import { Price } from "./views/Price";
import { Transactions } from "./views/Transactions";
import { isOnline, outcome, rates, status, user } from "./state";

/** What not everybody needs is another file, which comes after the login. */
function Later() {
  const [Views, setViews] = useState<ComponentType | null>(null);
  useEffect(() => {
    void import("./views/Later").then((module) => setViews(() => module.Later));
  }, []);
  return Views && <Views />;
}

export function App() {
  const isIn = user.value !== null;
  return (
    <>
      <header>
        <h1>BitTrade</h1>
        <Account />
      </header>
      {rates.value?.source === "simulator" && (
        <p class="banner" role="note">
          Paper money: these prices come from a simulator, and nothing here is worth anything.
        </p>
      )}
      {!isOnline.value && (
        <p class="banner warning" role="alert">
          The connection is lost. Trying to come back …
        </p>
      )}
      {status.value?.trading === "halted" && (
        <p class="banner warning" role="note">
          Trading is halted.
        </p>
      )}
      <p class={outcome.value?.isGood === false ? "outcome bad" : "outcome"} role="status">
        {outcome.value?.text}
      </p>
      <main class={isIn ? "in" : "out"}>
        <Price />
        {isIn && <BalanceView />}
        {isIn && <OrderForm />}
        {isIn && <OpenOrders />}
        <ChartView />
        {isIn && <Plans />}
        {isIn && <Later />}
        {isIn && <Transactions />}
      </main>
      <footer>
        <a href="/api/docs/events">Events</a> · <a href="/api/docs">API</a> · Charts:{" "}
        <a href="https://www.tradingview.com/" rel="noopener noreferrer">
          TradingView Lightweight Charts™
        </a>
        , Copyright © TradingView, Inc., under the Apache License 2.0
      </footer>
    </>
  );
}
