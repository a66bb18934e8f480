// The only place that knows the chart library.

import { AreaSeries, createChart, type UTCTimestamp } from "lightweight-charts";
import type { ChartSeries } from "../types";

/** Draw a series into a box; returns what takes it away again. */
export function draw(box: HTMLElement, series: ChartSeries): () => void {
  const style = getComputedStyle(box);
  const chart = createChart(box, {
    autoSize: true,
    layout: { background: { color: "transparent" }, textColor: style.color, attributionLogo: false },
    grid: { vertLines: { visible: false }, horzLines: { color: style.borderColor } },
    rightPriceScale: { borderVisible: false },
    timeScale: { borderVisible: false, timeVisible: series.timeframe === "1d" },
  });
  const line = style.getPropertyValue("--accent").trim() || "#0f766e";
  const area = chart.addSeries(AreaSeries, { lineColor: line, topColor: `${line}55`, bottomColor: `${line}05`, lineWidth: 2 });
  area.setData(unique(series).map(([at, value]) => ({ time: at as UTCTimestamp, value })));
  chart.timeScale().fitContent();
  return () => chart.remove();
}

/** One value a second, in order: the library takes nothing else. */
function unique(series: ChartSeries): [number, number][] {
  const values = new Map<number, number>();
  for (const point of series.price_data) values.set(Math.floor(Date.parse(point.timestamp) / 1000), point.price);
  return [...values].sort(([a], [b]) => a - b);
}
