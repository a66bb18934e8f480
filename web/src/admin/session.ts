// Who is at the desk. The token is in the memory of ../api alone; the role is asked for by the server at every request.

import { signal } from "@preact/signals";
import { ask, setToken } from "../api";
import { outcome, whenTokenEnds } from "../outcome";

export interface Staff {
  id: number;
  email: string;
  name: string;
  role: "user" | "support" | "admin";
}

export const me = signal<Staff | null>(null);
export const isAdmin = (): boolean => me.value?.role === "admin";

export function leave(): void {
  setToken(null);
  me.value = null;
}

whenTokenEnds(leave);

/** Log in; who has no role is logged out again at once, and sees nothing. */
export async function enter(email: string, password: string): Promise<string> {
  const answer = await ask<{ token: string; user: Staff }>("/auth/login", { body: { email, password } });
  setToken(answer.token);
  if (answer.user.role === "user") {
    await ask("/auth/logout", { method: "POST" }).catch(() => undefined);
    leave();
    throw new NotStaff();
  }
  me.value = answer.user;
  return `Welcome, ${answer.user.name}.`;
}

/** Somebody whose account has no role. */
export class NotStaff extends Error {}

export async function logOut(): Promise<void> {
  await ask("/auth/logout", { method: "POST" }).catch(() => undefined);
  leave();
  outcome.value = { text: "Logged out.", isGood: true };
}
