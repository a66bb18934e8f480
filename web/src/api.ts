// One way to ask the server. The token lives in this module's memory and nowhere else: closing the page forgets it.

let token: string | null = null;

export const setToken = (value: string | null): void => {
  token = value;
};
export const getToken = (): string | null => token;

/** A refusal, in the server's words; `code` is for machines. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly facts: Record<string, unknown> = {},
  ) {
    super(message);
  }
}

const UNREACHABLE = new Refusal(0, "unreachable", "The server can't be reached. Please try again.");
const TRIES = 4;

export interface Request {
  method?: string;
  body?: unknown;
  /** Made before the first try: a repeated request with it executes once. */
  key?: string;
}

/** Ask once; a request with a key is repeated while nobody knows what became of it. Throws a Refusal. */
export async function ask<T>(path: string, request: Request = {}): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await askOnce<T>(path, request);
    } catch (error) {
      const isOpen = error instanceof Refusal && (error.status === 0 || error.status === 503);
      if (!isOpen || !request.key || attempt === TRIES) throw error;
      await new Promise((resolve) => setTimeout(resolve, 500 * attempt));
    }
  }
}

async function askOnce<T>(path: string, request: Request): Promise<T> {
  const headers: Record<string, string> = {};
  if (token) headers["Authorization"] = `Bearer ${token}`;
  if (request.body !== undefined) headers["Content-Type"] = "application/json";
  if (request.key) headers["Idempotency-Key"] = request.key;
  let answer: Response;
  try {
    answer = await fetch(`/api${path}`, {
      method: request.method ?? (request.body === undefined ? "GET" : "POST"),
      headers,
      body: request.body === undefined ? null : JSON.stringify(request.body),
    });
  } catch {
    throw UNREACHABLE;
  }
  const body = await answer.json().catch(() => ({ error: "The server sent no answer." }));
  if (!answer.ok) throw new Refusal(answer.status, body.code ?? "error", body.error ?? "Something went wrong", body);
  return body as T;
}

/** A name for one intention, made before its first click. */
export function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
