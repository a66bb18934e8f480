// The account itself: name, e-mail and password, where it is logged in, keys for programs, and what happened to it.

import { useCallback, useEffect, useState } from "preact/hooks";
import { ask } from "../api";
import { time } from "../format";
import { attempt, user } from "../state";

interface Session {
  id: string;
  device: string | null;
  address: string | null;
  last_seen_at: string;
  current: boolean;
}

interface Key {
  id: number;
  name: string;
  prefix: string;
  scopes: string[];
  expires_at: string;
}

interface Happened {
  id: number;
  at: string;
  action: string;
  by: string;
  address: string | null;
}

export function Settings() {
  return (
    <>
      <Profile />
      <Sessions />
      <Keys />
      <Activity />
    </>
  );
}

/** What a path answers, null before, and how to ask again. */
function useAnswer<T>(path: string): [T | null, () => Promise<void>] {
  const [value, setValue] = useState<T | null>(null);
  const load = useCallback(async () => setValue(await ask<T>(path)), [path]);
  useEffect(() => {
    load().catch(() => undefined); // an empty list says enough; the next click asks again
  }, [load]);
  return [value, load];
}

function Profile() {
  return (
    <section aria-label="Profile">
      <h2>Profile</h2>
      <p>
        {user.value!.name}, {user.value!.email}
      </p>
      <Change
        name="Change name"
        fields={[{ label: "New name", key: "name", type: "text", complete: "name" }]}
        path="name"
        then={(body) => (user.value = { ...user.value!, name: body["name"]! })}
      />
      <Change
        name="Change e-mail"
        fields={[{ label: "New e-mail", key: "email", type: "email", complete: "email" }]}
        path="email"
        then={(body) => (user.value = { ...user.value!, email: body["email"]! })}
      />
      <Change
        name="Change password"
        fields={[
          { label: "New password", key: "newPassword", type: "password", complete: "new-password" },
          { label: "New password once more", key: "confirmPassword", type: "password", complete: "new-password" },
        ]}
        path="password"
        then={() => undefined}
      />
    </section>
  );
}

interface Field {
  label: string;
  key: string;
  type: string;
  complete: string;
}

/** One change to the account, which asks for the current password. */
function Change(props: { name: string; fields: Field[]; path: string; then: (body: Record<string, string>) => void }) {
  const fields = [...props.fields, { label: "Current password", key: "currentPassword", type: "password", complete: "current-password" }];
  const [body, setBody] = useState<Record<string, string>>({});
  const change = () =>
    attempt(async () => {
      const answer = await ask<{ message: string }>(`/user/profile/${props.path}`, { method: "PUT", body });
      props.then(body);
      setBody({});
      return `${answer.message}.`;
    });
  return (
    <form
      aria-label={props.name}
      onSubmit={(event) => {
        event.preventDefault();
        void change();
      }}
    >
      {fields.map((field) => (
        <label key={field.key}>
          {field.label}
          <input
            type={field.type}
            autocomplete={field.complete}
            required
            value={body[field.key] ?? ""}
            onInput={(e) => setBody({ ...body, [field.key]: e.currentTarget.value })}
          />
        </label>
      ))}
      <button type="submit">{props.name}</button>
    </form>
  );
}

function Sessions() {
  const [found, again] = useAnswer<{ sessions: Session[] }>("/auth/sessions");
  const end = (id: string) =>
    attempt(async () => {
      await ask(`/auth/sessions/${encodeURIComponent(id)}`, { method: "DELETE" });
      await again();
      return "That session has ended.";
    });
  return (
    <section aria-label="Sessions">
      <h2>Where you are logged in</h2>
      <ul class="list">
        {found?.sessions.map((session) => (
          <li key={session.id}>
            <span>
              {session.device ?? "A device"}, {session.address ?? "somewhere"}, {time(session.last_seen_at)}
            </span>
            {session.current ? (
              <span class="muted">this one</span>
            ) : (
              <button type="button" onClick={() => end(session.id)}>
                End session
              </button>
            )}
          </li>
        ))}
      </ul>
    </section>
  );
}

function Keys() {
  const [found, again] = useAnswer<{ keys: Key[] }>("/keys");
  const [name, setName] = useState("");
  const [mayTrade, setMayTrade] = useState(false);
  const [secret, setSecret] = useState<string | null>(null);
  const make = () =>
    attempt(async () => {
      const scopes = mayTrade ? ["read", "trade"] : ["read"];
      const made = await ask<{ key: string }>("/keys", { body: { name, scopes } });
      setSecret(made.key);
      setName("");
      await again();
      return "The key is made. It is shown this once.";
    });
  const revoke = (id: number) =>
    attempt(async () => {
      await ask(`/keys/${id}`, { method: "DELETE" });
      await again();
      return "The key is revoked.";
    });
  return (
    <section aria-label="API keys" class="wide">
      <h2>Keys for programs</h2>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void make();
        }}
      >
        <label>
          What for
          <input required maxLength={100} value={name} onInput={(e) => setName(e.currentTarget.value)} />
        </label>
        <label class="inline">
          <input type="checkbox" checked={mayTrade} onChange={(e) => setMayTrade(e.currentTarget.checked)} />
          It may trade
        </label>
        <button type="submit">Make key</button>
      </form>
      {secret !== null && (
        <p>
          <code class="secret">{secret}</code>
        </p>
      )}
      <ul class="list">
        {found?.keys.map((key) => (
          <li key={key.id}>
            <span>
              {key.name}: {key.prefix}…, {key.scopes.join(", ")}, until {time(key.expires_at)}
            </span>
            <button type="button" onClick={() => revoke(key.id)}>
              Revoke
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}

function Activity() {
  const [found] = useAnswer<{ events: Happened[] }>("/account/activity?limit=50");
  return (
    <section aria-label="Activity" class="wide">
      <h2>What happened to the account</h2>
      <div class="scroll" tabIndex={0} role="group" aria-label="All that happened">
        <table>
          <thead>
            <tr>
              <th scope="col">When</th>
              <th scope="col">What</th>
              <th scope="col">By</th>
              <th scope="col">From</th>
            </tr>
          </thead>
          <tbody>
            {found?.events.map((event) => (
              <tr key={event.id}>
                <td>{time(event.at)}</td>
                <td>{event.action.replaceAll("_", " ")}</td>
                <td>{event.by}</td>
                <td>{event.address ?? "–"}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}
