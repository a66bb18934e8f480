import { useState } from "preact/hooks";
import { ask, setToken } from "../api";
import { authenticate, leave } from "../live";
import { attempt, forget, outcome, refresh, setBalance, transactions, user } from "../state";
import type { Balance, Transaction, User } from "../types";

export function Account() {
  return user.value === null ? <Door /> : <Inside />;
}

function Inside() {
  const logOut = async () => {
    await attempt(async () => {
      await ask("/auth/logout", { method: "POST" });
      return "Logged out.";
    });
    forget();
    leave();
  };
  return (
    <div class="account">
      <span>{user.value!.name}</span>
      <button type="button" onClick={logOut}>
        Log out
      </button>
    </div>
  );
}

function Door() {
  const [email, setEmail] = useState("");
  const [password, setPassword] = useState("");
  const [name, setName] = useState("");
  const [isBusy, setBusy] = useState(false);

  const enter = async (path: string, body: object, greeting: (user: User) => string) => {
    if (isBusy) return;
    setBusy(true);
    const isIn = await attempt(async () => {
      const answer = await ask<{ token: string; user: User }>(path, { body });
      setToken(answer.token);
      user.value = answer.user;
      return greeting(answer.user);
    });
    setBusy(false);
    if (isIn) await begin();
  };

  const logIn = () => enter("/auth/login", { email, password }, (found) => `Welcome, ${found.name}.`);
  const register = () =>
    enter("/auth/register", { email, password, name }, (made) => `Your account is open. Welcome, ${made.name}.`);

  return (
    <form
      class="account"
      onSubmit={(event) => {
        event.preventDefault();
        void logIn();
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
      <label>
        Name
        <input
          autocomplete="name"
          placeholder="to register"
          value={name}
          onInput={(e) => setName(e.currentTarget.value)}
        />
      </label>
      <button type="submit" class="primary" disabled={isBusy}>
        Log in
      </button>
      <button type="button" disabled={isBusy} onClick={register}>
        Register
      </button>
    </form>
  );
}

/** The socket brings it too; who has no socket is not left without. */
async function begin(): Promise<void> {
  authenticate();
  try {
    const [held, history] = await Promise.all([
      ask<Balance>("/balance"),
      ask<{ transactions: Transaction[] }>("/transactions?limit=15"),
    ]);
    setBalance(held);
    transactions.value = history.transactions;
    await refresh();
  } catch (error) {
    outcome.value = { text: (error as Error).message, isGood: false };
  }
}
