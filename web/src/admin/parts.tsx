// What several views are made of: figures, tables, bars, and the form that asks for a reason.

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { attempt } from "../outcome";

export function Figures(props: { of: [string, ComponentChildren][] }) {
  return (
    <dl class="figures">
      {props.of.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

export const Loading = () => <p class="muted">Loading …</p>;

/** A table in a box that scrolls by itself, so that the page never does; `name` is what it is called. */
export function Table(props: { name: string; head: string[]; rows: ComponentChildren[][] | null }) {
  if (props.rows === null) return <Loading />;
  if (props.rows.length === 0) return <p class="muted">None.</p>;
  return (
    <div class="scroll" tabIndex={0} role="group" aria-label={props.name}>
      <table>
        <thead>
          <tr>
            {props.head.map((text) => (
              <th key={text} scope="col">
                {text}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {props.rows.map((cells, row) => (
            <tr key={row}>
              {cells.map((cell, column) => (
                <td key={column}>{cell}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

export interface Bar {
  name: string;
  /** One value for each series. */
  values: number[];
}

const WIDTH = 600;
const HEIGHT = 140;
const FEWEST = 6; // fewer bars are no wider

/** Bars for the eyes; the same as a table for everybody. */
export function Bars(props: { name: string; series: string[]; bars: Bar[]; show: (value: number) => string }) {
  const top = Math.max(1, ...props.bars.flatMap((bar) => bar.values));
  const slot = WIDTH / Math.max(FEWEST, props.bars.length);
  const thin = (slot * 0.8) / props.series.length;
  return (
    <figure>
      <figcaption>
        {props.name}
        {props.series.map((text, index) => (
          <span key={text} class={`key series${index}`}>
            {text}
          </span>
        ))}
      </figcaption>
      <svg class="bars" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
        {props.bars.flatMap((bar, place) =>
          bar.values.map((value, index) => {
            const height = (Math.max(0, value) / top) * HEIGHT;
            return (
              <rect
                key={`${bar.name} ${index}`}
                class={`series${index}`}
                x={place * slot + slot * 0.1 + index * thin}
                y={HEIGHT - height}
                width={thin}
                height={height}
              >
                <title>{`${bar.name}: ${props.show(value)}`}</title>
              </rect>
            );
          }),
        )}
      </svg>
      <details>
        <summary>{props.name} as a table</summary>
        <Table
          name={props.name}
          head={["", ...props.series]}
          rows={props.bars.map((bar) => [bar.name, ...bar.values.map(props.show)])}
        />
      </details>
    </figure>
  );
}

/** A button that first asks why. `act` gets the reason; what it returns is said. */
export function WithReason(props: {
  name: string;
  isDangerous?: boolean;
  what?: string;
  act: (reason: string) => Promise<string>;
}) {
  const [isOpen, setOpen] = useState(false);
  const [reason, setReason] = useState("");
  const [isBusy, setBusy] = useState(false);
  if (!isOpen) {
    return (
      <button type="button" class={props.isDangerous ? "sell" : ""} onClick={() => setOpen(true)}>
        {props.name}
      </button>
    );
  }
  const submit = async () => {
    setBusy(true);
    const isDone = await attempt(() => props.act(reason));
    setBusy(false);
    if (isDone) {
      setOpen(false);
      setReason("");
    }
  };
  return (
    <form
      class="reason"
      aria-label={props.name}
      onSubmit={(event) => {
        event.preventDefault();
        if (!isBusy) void submit();
      }}
    >
      {props.what && <p>{props.what}</p>}
      <label>
        Reason
        <input required maxLength={500} autofocus value={reason} onInput={(e) => setReason(e.currentTarget.value)} />
      </label>
      <button type="submit" class="primary" disabled={isBusy}>
        Confirm
      </button>
      <button type="button" onClick={() => setOpen(false)}>
        Back
      </button>
    </form>
  );
}

export function Search(props: { name: string; onSearch: (words: string) => void }) {
  const [words, setWords] = useState("");
  return (
    <form
      role="search"
      onSubmit={(event) => {
        event.preventDefault();
        props.onSearch(words.trim());
      }}
    >
      <label>
        {props.name}
        <input type="search" maxLength={100} value={words} onInput={(e) => setWords(e.currentTarget.value)} />
      </label>
      <button type="submit">Search</button>
    </form>
  );
}

/** Whether something is well: in a word, and in colour besides. */
export function State(props: { is: string; isGood: boolean }) {
  return <span class={props.isGood ? "state good" : "state bad"}>{props.is}</span>;
}
