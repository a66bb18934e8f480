import { useState } from "preact/hooks";
import { bitcoin, rupees, time } from "../../format";
import { usePages } from "../loading";
import { Search, Table } from "../parts";
import type { Page, Somebody } from "../types";

export function Users() {
  const [words, setWords] = useState("");
  const search = words ? `&search=${encodeURIComponent(words)}` : "";
  const { rows, more } = usePages<Page & { users: Somebody[] }, Somebody>(
    `/admin/users?limit=50${search}`,
    (page) => page.users,
  );
  return (
    <section aria-label="Users">
      <Search name="E-mail, name or number" onSearch={setWords} />
      <Table
        name="Accounts"
        head={["Number", "E-mail", "Name", "Rupees", "Bitcoin", "Role", "State", "Since"]}
        rows={
          rows &&
          rows.map((user) => [
            user.id,
            <a href={`#/users/${user.id}`}>{user.email}</a>,
            user.name,
            rupees(user.inrBalance),
            bitcoin(user.btcBalance),
            user.role,
            user.disabled_at === null ? "open" : "disabled",
            time(user.created_at),
          ])
        }
      />
      {more && (
        <button type="button" onClick={more}>
          Older
        </button>
      )}
    </section>
  );
}
