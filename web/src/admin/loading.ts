// Reading from the server again and again, for as long as a view is shown.

import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { ask } from "../api";
import { showRefusal } from "../outcome";

const EACH_MS = 5000;

/** The newest answer of a path, null before the first; and how to ask now. What is hidden is not asked for. */
export function useLoaded<T>(path: string, eachMs = EACH_MS): [T | null, () => Promise<void>] {
  const [value, setValue] = useState<T | null>(null);
  const wanted = useRef(path);
  wanted.current = path;
  const load = useCallback(async () => {
    try {
      const answer = await ask<T>(path);
      if (wanted.current === path) setValue(answer);
    } catch (error) {
      showRefusal(error);
    }
  }, [path]);
  useEffect(() => {
    void load();
    const timer = setInterval(() => document.visibilityState === "visible" && void load(), eachMs);
    return () => clearInterval(timer);
  }, [load, eachMs]);
  return [value, load];
}

interface Page {
  hasMore: boolean;
  next_before_id: number | null;
}

/** A list that is read page by page; `more` is null at its end. */
export function usePages<T extends Page, Row>(path: string, rowsOf: (page: T) => Row[]) {
  const [rows, setRows] = useState<Row[] | null>(null);
  const [cursor, setCursor] = useState<number | null>(null);
  const read = async (before: number | null, known: Row[]) => {
    try {
      const joint = path.includes("?") ? "&" : "?";
      const page = await ask<T>(before === null ? path : `${path}${joint}before_id=${before}`);
      setRows([...known, ...rowsOf(page)]);
      setCursor(page.next_before_id);
    } catch (error) {
      showRefusal(error);
    }
  };
  useEffect(() => void read(null, []), [path]);
  const more = cursor === null ? null : () => read(cursor, rows ?? []);
  return { rows, more, again: () => read(null, []) };
}
