// The desk: one view at a time, named by the address after #, so that a reload and the back button keep the place.

import { signal } from "@preact/signals";
import type { ComponentType } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { Approvals } from "./views/Approvals";
import { Audit } from "./views/Audit";
import { House } from "./views/House";
import { Ledger } from "./views/Ledger";
import { Machinery } from "./views/Machinery";
import { Overview } from "./views/Overview";
import { Sources } from "./views/Sources";
import { Transactions } from "./views/Transactions";
import { User } from "./views/User";
import { Users } from "./views/Users";

interface View {
  title: string;
  Show: ComponentType<{ argument: string }>;
}

const VIEWS: Record<string, View> = {
  overview: { title: "Overview", Show: Overview },
  users: { title: "Users", Show: Users },
  approvals: { title: "Approvals", Show: Approvals },
  transactions: { title: "Transactions", Show: Transactions },
  house: { title: "Spread and trading", Show: House },
  sources: { title: "Sources", Show: Sources },
  machinery: { title: "Queues and sockets", Show: Machinery },
  ledger: { title: "Ledger", Show: Ledger },
  audit: { title: "Audit", Show: Audit },
};
const DEFAULT = "overview";

const place = signal(read());
addEventListener("hashchange", () => (place.value = read()));

function read(): { name: string; argument: string } {
  const [name = "", argument = ""] = location.hash.replace(/^#\/?/, "").split("/");
  return name in VIEWS ? { name, argument } : { name: DEFAULT, argument: "" };
}

export function Desk() {
  const { name, argument } = place.value;
  const { title, Show } = VIEWS[name]!;
  const isOneUser = name === "users" && argument !== "";
  const heading = useRef<HTMLHeadingElement>(null);
  const shown = isOneUser ? `User ${argument}` : title;
  useEffect(() => {
    document.title = `${shown} – BitTrade: operators`;
    heading.current?.focus(); // a screen reader says where one has come to
  }, [shown]);
  return (
    <div class="desk">
      <nav aria-label="Views">
        <ul>
          {Object.entries(VIEWS).map(([each, view]) => (
            <li key={each}>
              <a href={`#/${each}`} aria-current={each === name ? "page" : undefined}>
                {view.title}
              </a>
            </li>
          ))}
        </ul>
      </nav>
      <main>
        <h2 ref={heading} tabIndex={-1}>
          {shown}
        </h2>
        {isOneUser ? <User key={argument} id={Number(argument)} /> : <Show argument={argument} />}
      </main>
    </div>
  );
}
