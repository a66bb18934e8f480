import { useEffect, useState } from "preact/hooks";
import { ask, Refusal } from "../../api";
import { time } from "../../format";
import { attempt } from "../../outcome";
import { useLoaded } from "../loading";
import { Figures, Loading, State, WithReason } from "../parts";
import { isAdmin } from "../session";

interface Trading {
  halted: boolean;
  reason: string | null;
  since: string | null;
  trading: string;
}

type Settings = Record<"buy_multiplier" | "sell_multiplier", { value: number; updated_at: string | null }>;

export function House() {
  return (
    <>
      <HaltAndResume />
      <Spread />
    </>
  );
}

function HaltAndResume() {
  const [found, again] = useLoaded<Trading>("/admin/trading");
  const set = (action: "halt" | "resume") => async (reason: string) => {
    await ask("/admin/trading", { body: { action, reason } });
    await again();
    return action === "halt" ? "Trading is halted." : "Trading goes on.";
  };
  return (
    <section aria-label="Trading">
      <h3>Trading</h3>
      {found === null ? (
        <Loading />
      ) : (
        <>
          <p>
            <State is={found.trading.replaceAll("_", " ")} isGood={found.trading === "open"} />
            {found.halted && ` since ${time(found.since!)}: ${found.reason}`}
          </p>
          {isAdmin() &&
            (found.halted ? (
              <WithReason name="Resume trading" act={set("resume")} />
            ) : (
              <WithReason name="Halt trading" isDangerous what="Refuse every trade, on every process?" act={set("halt")} />
            ))}
        </>
      )}
    </section>
  );
}

function Spread() {
  const [found, again] = useLoaded<Settings>("/admin/settings", 30_000);
  return (
    <section aria-label="Spread">
      <h3>Spread</h3>
      {found === null ? (
        <Loading />
      ) : (
        <>
          <Figures
            of={[
              ["Customers buy at, rupees for a dollar", String(found.buy_multiplier.value)],
              ["Customers sell at, rupees for a dollar", String(found.sell_multiplier.value)],
              ["Spread", `${(((found.buy_multiplier.value - found.sell_multiplier.value) * 100) / found.buy_multiplier.value).toFixed(2)} %`],
              ["Changed", found.buy_multiplier.updated_at ? time(found.buy_multiplier.updated_at) : "never"],
            ]}
          />
          {isAdmin() && <NewSpread now={found} again={again} />}
        </>
      )}
    </section>
  );
}

function NewSpread({ now, again }: { now: Settings; again: () => Promise<void> }) {
  const [buy, setBuy] = useState("");
  const [sell, setSell] = useState("");
  const [reason, setReason] = useState("");
  const [isSure, setSure] = useState(false);
  const [isDoubtful, setDoubtful] = useState(false);
  useEffect(() => {
    setBuy(String(now.buy_multiplier.value));
    setSell(String(now.sell_multiplier.value));
  }, [now.buy_multiplier.value, now.sell_multiplier.value]);
  const change = () =>
    attempt(async () => {
      const settings = { buy_multiplier: buy.trim(), sell_multiplier: sell.trim() };
      try {
        await ask("/admin/settings", { method: "PUT", body: { settings, reason, confirmed: isSure } });
      } catch (error) {
        setDoubtful(error instanceof Refusal && error.code === "not_confirmed");
        throw error;
      }
      setReason("");
      setSure(false);
      setDoubtful(false);
      await again();
      return "The new rates hold from now on.";
    });
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        void change();
      }}
    >
      <label>
        Buy multiplier
        <input inputMode="decimal" required value={buy} onInput={(e) => setBuy(e.currentTarget.value)} />
      </label>
      <label>
        Sell multiplier
        <input inputMode="decimal" required value={sell} onInput={(e) => setSell(e.currentTarget.value)} />
      </label>
      <label>
        Reason
        <input required maxLength={500} value={reason} onInput={(e) => setReason(e.currentTarget.value)} />
      </label>
      {isDoubtful && (
        <label class="inline">
          <input type="checkbox" checked={isSure} onChange={(e) => setSure(e.currentTarget.checked)} />
          It is meant
        </label>
      )}
      <button type="submit">Change spread</button>
    </form>
  );
}
