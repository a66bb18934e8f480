// The chart, for eyes and as a table. Its library is loaded when the page has shown everything else.

import { useEffect, useRef, useState } from "preact/hooks";
import { ask } from "../api";
import { dollars, time } from "../format";
import type { ChartSeries, Sentiment } from "../types";

const TIMEFRAMES = ["1d", "7d", "30d", "90d", "365d"];
const ROWS = 12;

export function ChartView() {
  const [timeframe, setTimeframe] = useState("1d");
  const [series, setSeries] = useState<ChartSeries | null>(null);
  const [sentiment, setSentiment] = useState<Sentiment | null>(null);

  useEffect(() => {
    let isWanted = true;
    ask<ChartSeries>(`/bitcoin/chart/${timeframe}`).then(
      (value) => isWanted && setSeries(value),
      () => isWanted && setSeries(null),
    );
    return () => {
      isWanted = false;
    };
  }, [timeframe]);
  useEffect(() => {
    ask<Sentiment>("/bitcoin/sentiment").then(setSentiment, () => undefined); // none was fetched yet
  }, []);

  return (
    <section aria-label="Chart" class="wide">
      <h2>Bitcoin in dollars</h2>
      <div class="row" role="group" aria-label="Time frame">
        {TIMEFRAMES.map((each) => (
          <button key={each} type="button" aria-pressed={each === timeframe} onClick={() => setTimeframe(each)}>
            {each}
          </button>
        ))}
        {series?.price_change_pct != null && <span>{series.price_change_pct} %</span>}
        {sentiment && (
          <span class="muted">
            Fear and greed: {sentiment.fear_greed_value} ({sentiment.fear_greed_classification})
          </span>
        )}
      </div>
      {series === null ? <p class="muted">There is no chart yet.</p> : <Drawing series={series} />}
    </section>
  );
}

function Drawing({ series }: { series: ChartSeries }) {
  const place = useRef<HTMLDivElement>(null);

  useEffect(() => {
    let remove: (() => void) | null = null;
    let isWanted = true;
    void import("./drawing").then(({ draw }) => {
      if (isWanted && place.current) remove = draw(place.current, series);
    });
    return () => {
      isWanted = false;
      remove?.();
    };
  }, [series]);

  const step = Math.max(1, Math.ceil(series.price_data.length / ROWS));
  const shown = series.price_data.filter((_, number) => number % step === 0);
  return (
    <>
      <div class="chart" ref={place} aria-hidden="true" />
      <details>
        <summary>The chart as a table</summary>
        <table>
          <thead>
            <tr>
              <th scope="col">When</th>
              <th scope="col">Price</th>
            </tr>
          </thead>
          <tbody>
            {shown.map((point) => (
              <tr key={point.timestamp}>
                <td>{time(point.timestamp)}</td>
                <td>{dollars(point.price)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </details>
    </>
  );
}
