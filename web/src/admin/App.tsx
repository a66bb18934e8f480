// The door. What is behind it is another file, which nobody loads who has no role.

import type { ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";
import { attempt, outcome } from "../outcome";
import { enter, logOut, me, NotStaff } from "./session";

export function App() {
  const isIn = me.value !== null;
  return (
    <>
      <header>
        <h1>BitTrade: operators</h1>
        {isIn && (
          <div class="account">
            <span>
              {me.value!.name} ({me.value!.role})
            </span>
            <button type="button" onClick={logOut}>
              Log out
            </button>
          </div>
        )}
      </header>
      <p class={outcome.value?.isGood === false ? "outcome bad" : "outcome"} role="status">
        {outcome.value?.text}
      </p>
      {isIn ? <Behind /> : <Door />}
    </>
  );
}

function Behind() {
  const [Desk, setDesk] = useState<ComponentType | null>(null);
  useEffect(() => {
    void import("./Desk").then((module) => setDesk(() => module.Desk));
  }, []);
  return Desk === null ? <main aria-busy="true" /> : <Desk />;
}

function Door() {
  const [email, setEmail] = useState("");
  const [password, setPassword] = useState("");
  const [isBusy, setBusy] = useState(false);
  const submit = async () => {
    setBusy(true);
    await attempt(() => enter(email, password).catch(refuseWithoutRole));
    setBusy(false);
  };
  return (
    <main>
      <section aria-label="Log in">
        <form
          onSubmit={(event) => {
            event.preventDefault();
            void submit();
          }}
        >
          <label>
            E-mail
            <input type="email" autocomplete="username" required value={email} onInput={(e) => setEmail(e.currentTarget.value)} />
          </label>
          <label>
            Password
            <input
              type="password"
              autocomplete="current-password"
              required
              value={password}
              onInput={(e) => setPassword(e.currentTarget.value)}
            />
          </label>
          <button type="submit" class="primary" disabled={isBusy}>
            Log in
          </button>
        </form>
      </section>
    </main>
  );
}

function refuseWithoutRole(error: unknown): string {
  if (!(error instanceof NotStaff)) throw error;
  return "This page is for staff. Your account has no role here.";
}
