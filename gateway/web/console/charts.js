// The charts: each a function from a point to the values of its lines. The cursor is one for all.
const sum = (counts, test) => Object.entries(counts).reduce((all, [name, count]) => all + (test(name) ? count : 0), 0);
const starting = (prefix) => (name) => name.startsWith(prefix);
const hitRate = (counts) => {
  const hits = (counts["lookup local hit"] ?? 0) + (counts["lookup redis hit"] ?? 0);
  const all = hits + (counts["lookup redis miss"] ?? 0) + (counts["lookup redis error"] ?? 0);
  return all ? (100 * hits) / all : null;
};
const each = (point, ...tests) => tests.map((test) => sum(point.counts, test) / point.span);

const CHARTS = {
  requests: { lines: [""], of: (point) => each(point, starting("status ")) },
  latency: {
    lines: ["50 %", "95 %", "99 %"],
    of: (point) => (point.quantiles ?? [null, null, null]).map(milliseconds),
  },
  hits: { lines: [""], of: (point) => [hitRate(point.counts)] },
  failures: {
    lines: ["4xx", "5xx", "aborted"],
    of: (point) => each(point, starting("status 4"), starting("status 5"), starting("status aborted")),
  },
  bytes: { lines: [""], of: (point) => [(point.counts.bytes ?? 0) / point.span / 1000] },
  cos: {
    lines: ["2xx", "4xx", "5xx", "-"],
    of: (point) =>
      each(point, starting("origin 2"), starting("origin 4"), starting("origin 5"), (name) =>
        ["origin timeout", "origin error"].includes(name),
      ),
  },
  browsers: {
    lines: ["loaded", "recovered", "fallback", "failed"],
    of: (point) => ["loaded", "recovered", "fallback", "failed"].map((result) => point.counts[`load ${result}`] ?? 0),
  },
};
const DASHES = [[], [6, 3], [2, 2], [8, 3, 2, 3]];

function milliseconds(seconds) {
  return seconds === null ? null : seconds * 1000;
}

/** Draw every chart into `folder`; returns a function that shows other points, of the time between two. */
export function charts(folder, uPlot) {
  const text = () => getComputedStyle(document.documentElement).color; // changes with the scheme
  let shown = [0, 1];
  const made = Object.entries(CHARTS).map(([name, { lines, of }]) => {
    const figure = document.createElement("figure");
    const caption = document.createElement("figcaption");
    caption.dataset.text = name;
    const keys = document.createElement("small");
    keys.textContent = lines.filter(Boolean).join(" · ");
    const place = document.createElement("div");
    figure.append(caption, keys, place);
    folder.append(figure);
    const axis = { stroke: text, grid: { stroke: "#8885", width: 1 }, ticks: { stroke: "#8885" } };
    const options = {
      width: place.clientWidth,
      height: 150,
      legend: { show: false },
      scales: { x: { range: () => shown }, y: { range: (_, _min, max) => [0, 1.1 * Math.max(max ?? 0, 1)] } },
      cursor: { sync: { key: "console" } },
      axes: [axis, { ...axis, size: 55 }],
      series: [{}, ...lines.map((_, index) => ({ stroke: text, width: 1.5, dash: DASHES[index] }))],
    };
    const chart = new uPlot(options, [[], ...lines.map(() => [])], place);
    new ResizeObserver(() => chart.setSize({ width: place.clientWidth, height: 150 })).observe(place);
    return { chart, of, lines };
  });
  return (points, from, to) => {
    shown = [from, to];
    for (const { chart, of, lines } of made) {
      const values = points.map(of);
      chart.setData([points.map((point) => point.at), ...lines.map((_, index) => values.map((row) => row[index]))]);
    }
  };
}
