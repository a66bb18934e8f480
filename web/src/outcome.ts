// What came of what was done last, in plain words; screen readers read it out. Both pages have it.

import { signal } from "@preact/signals";
import { Refusal } from "./api";

export const outcome = signal<{ text: string; isGood: boolean } | null>(null);
let forget = (): void => undefined;

/** Say what to forget when the server no longer takes the token. */
export function whenTokenEnds(work: () => void): void {
  forget = work;
}

/** Show what came of something; a refusal in the server's words. */
export async function attempt(work: () => Promise<string>): Promise<boolean> {
  try {
    outcome.value = { text: await work(), isGood: true };
    return true;
  } catch (error) {
    showRefusal(error);
    return false;
  }
}

export function showRefusal(error: unknown): void {
  outcome.value = { text: plainly(error), isGood: false };
  if (error instanceof Refusal && error.code === "token_invalid") forget();
}

function plainly(error: unknown): string {
  if (!(error instanceof Refusal)) return "Something went wrong on this page. Please load it again.";
  switch (error.code) {
    case "quote_expired":
      return "This quote has run out. Ask for a new one.";
    case "rates_unavailable":
      return "There is no fresh price right now, so nothing can be traded. Please try again shortly.";
    case "price_uncertain":
      return "The price is being confirmed. Please try again in a moment.";
    case "trading_halted":
      return "Trading is halted right now.";
    default:
      return error.message;
  }
}

