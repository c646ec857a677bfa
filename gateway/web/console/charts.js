// The charts: each a function from points to the values of its lines. The cursor is one for all.
import { node } from "./elements.js";
import { bytesText, clock, duration, number, time, word } from "./language.js";

const HEIGHT = 10; // em
const MOST_LINES = 6;
const rate = (value) => word("per_second", { value: number(value) });
const sum = (counts, test) => Object.entries(counts).reduce((all, [name, found]) => all + (test(name) ? found : 0), 0);
const starting = (prefix) => (name) => name.startsWith(prefix);

function hitRate({ counts }) {
  const hits = (counts["lookup local hit"] ?? 0) + (counts["lookup redis hit"] ?? 0);
  const all =
    hits +
    (counts["lookup redis miss"] ?? 0) +
    (counts["lookup redis error"] ?? 0) +
    (counts["lookup redis foreign"] ?? 0);
  return all ? (100 * hits) / all : null;
}

/** Lines of fixed names; `of` gives a point's value of each. */
const fixed = (lines, of) => (points) => ({ lines, rows: points.map(of) });

/** What counted under each name a second; a name stands for all names that begin with it. */
const perSecond = (prefixes) =>
  fixed(Object.keys(prefixes), (point) =>
    Object.values(prefixes).map((prefix) => sum(point.counts, starting(prefix)) / point.span),
  );

/** The most frequent error codes of the points, and one line for all others. */
function errorCodes(points) {
  const totals = new Map();
  for (const { counts } of points)
    for (const [name, found] of Object.entries(counts))
      if (name.startsWith("error ")) totals.set(name.slice(6), (totals.get(name.slice(6)) ?? 0) + found);
  const codes = [...totals.keys()].sort((code, other) => totals.get(other) - totals.get(code));
  const own = codes.slice(0, codes.length > MOST_LINES ? MOST_LINES - 1 : MOST_LINES);
  const rest = codes.slice(own.length);
  const rate = (point, names) =>
    names.reduce((all, code) => all + (point.counts[`error ${code}`] ?? 0), 0) / point.span;
  return {
    lines: rest.length ? [...own, "others"] : own,
    rows: points.map((point) => [
      ...own.map((code) => rate(point, [code])),
      ...(rest.length ? [rate(point, rest)] : []),
    ]),
  };
}

const CHARTS = {
  requests: { of: perSecond({ requests_line: "status " }) },
  latency: {
    format: (value) => duration(value / 1000),
    of: fixed(["50 %", "95 %", "99 %"], (point) =>
      (point.quantiles ?? [null, null, null]).map((seconds) => (seconds === null ? null : seconds * 1000)),
    ),
  },
  hits: { format: (value) => `${number(value)} %`, most: 100, of: fixed(["hits_line"], (point) => [hitRate(point)]) },
  failures: { of: perSecond({ "4xx": "status 4", "5xx": "status 5", aborted: "status aborted" }) },
  codes: { of: errorCodes },
  bytes: {
    format: (value) => word("per_second", { value: bytesText(value) }),
    of: perSecond({ memory: "bytes memory", COS: "bytes cos" }),
  },
  cos: {
    of: fixed(["2xx", "4xx", "5xx", "no_answer_line"], (point) => [
      ...["2", "4", "5"].map((digit) => sum(point.counts, starting(`origin ${digit}`)) / point.span),
      ((point.counts["origin timeout"] ?? 0) + (point.counts["origin error"] ?? 0)) / point.span,
    ]),
  },
  browsers: {
    of: perSecond({
      loaded: "load loaded",
      recovered: "load recovered",
      fallback: "load fallback",
      failed: "load failed",
    }),
  },
};
/** The indexes of values without a neighbour: no line leads to them. uPlot draws a point for each; null leaves that to it. */
function alone(plot, series, showsAll) {
  if (showsAll) return null;
  const values = plot.data[series];
  const isAlone = (value, at) =>
    value !== null && (values[at - 1] ?? null) === null && (values[at + 1] ?? null) === null;
  return values.flatMap((value, at) => (isAlone(value, at) ? [at] : []));
}

const DASHES = [[], [6, 3], [2, 2], [8, 3, 2, 3], [12, 4], [1, 3]];

/** Draw every chart into `folder`, a chart that fails without the others; `cursor` says of when the values in the legends are.
 *
 * Returns a function that shows other points, of the time between two, and a line at each of the times of events.
 */
export function charts(folder, cursor, uPlot) {
  const all = Object.entries(CHARTS).map(([name, chart]) => new Chart(name, chart, folder, uPlot));
  let at = null;
  let times = [];
  const readAt = (index) => {
    at = index;
    for (const chart of all) chart.write(index);
    cursor.textContent = index === null ? word("latest") : time(times[index]);
  };
  for (const chart of all) chart.moved = readAt;
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const chart of all) chart.plot?.redraw(false);
  });
  return (points, from, to, events) => {
    times = points.map((point) => point.at);
    for (const chart of all) chart.show(points, from, to, events);
    readAt(at !== null && at < points.length ? at : null);
  };
}

class Chart {
  constructor(name, { of, format = rate, most = null }, folder, uPlot) {
    this.name = name;
    this.of = of;
    this.format = format;
    this.lines = [];
    this.range = [0, 1];
    this.events = [];
    this.moved = () => {};
    const figure = document.createElement("figure");
    const caption = document.createElement("figcaption");
    caption.dataset.text = name;
    caption.textContent = word(name);
    this.legend = document.createElement("ul");
    this.legend.className = "legend";
    this.keys = DASHES.map((_, index) => key(index));
    this.problem = node("p", "", "bad");
    const place = node("div", "", "plot");
    figure.append(caption, this.legend, this.problem, place);
    folder.append(figure);
    this.attempt(() => this.plotIn(place, most, uPlot));
  }

  /** Do a part of the drawing; say so in place of the chart if it fails. */
  attempt(work) {
    try {
      work();
      this.problem.textContent = "";
    } catch (error) {
      this.problem.textContent = word("no_chart", { message: error.message });
    }
  }

  plotIn(place, most, uPlot) {
    const figure = place.parentElement;
    const text = () => getComputedStyle(figure).color; // changes with the scheme
    const em = Number.parseFloat(getComputedStyle(figure).fontSize); // larger on a wall
    const axis = {
      stroke: text,
      font: `${Math.round(0.8 * em)}px Inter, system-ui, sans-serif`,
      grid: { stroke: "#8883", width: 1 },
      ticks: { stroke: "#8883", size: 4 },
    };
    const color = (index) => getComputedStyle(this.keys[index].mark).color;
    this.plot = new uPlot(
      {
        width: place.clientWidth,
        height: HEIGHT * em,
        legend: { show: false },
        scales: {
          x: { range: () => this.range },
          y: { range: (_, _min, max) => [0, most ?? (max > 0 ? 1.1 * max : 1)] },
        },
        padding: [0.7 * em, 0.7 * em, 0, 0],
        cursor: { sync: { key: "console" }, y: false, drag: { x: false } },
        hooks: {
          setCursor: [({ cursor }) => this.moved(cursor.idx ?? null)],
          drawAxes: [() => this.drawEvents(text())],
        },
        axes: [
          {
            ...axis,
            space: 4.7 * em,
            size: 1.9 * em,
            values: (_, splits) => splits.map((at) => clock(at, this.range[1] - this.range[0] < 300)),
          },
          {
            ...axis,
            size: (_, values) => (1.2 + 0.5 * Math.max(3, ...(values ?? []).map(({ length }) => length))) * em,
            values: (_, splits) => splits.map((value) => this.format(value)),
          },
        ],
        series: [
          {},
          ...DASHES.map((dash, index) => ({
            stroke: () => color(index),
            fill: index === 0 ? () => color(0).replace("rgb(", "rgba(").replace(")", ", 0.12)") : undefined,
            width: 1.75,
            dash,
            points: { size: 4, fill: () => color(index), filter: alone },
          })),
        ],
      },
      [[], ...DASHES.map(() => [])],
      place,
    );
    new ResizeObserver(() => this.plot.setSize({ width: place.clientWidth, height: HEIGHT * em })).observe(place);
  }

  /** A dotted line for each event within the range. */
  drawEvents(color) {
    const { ctx, bbox } = this.plot;
    ctx.save();
    ctx.strokeStyle = color;
    ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash([2 * devicePixelRatio, 3 * devicePixelRatio]);
    for (const at of this.events) {
      const x = Math.round(this.plot.valToPos(at, "x", true));
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
    }
    ctx.restore();
  }

  show(points, from, to, events) {
    this.attempt(() => this.draw(points, from, to, events));
  }

  draw(points, from, to, events) {
    this.range = [from, to];
    this.events = events.filter((at) => at >= from && at <= to);
    const { lines, rows } = this.of(points);
    this.lines = lines;
    const times = points.map((point) => point.at);
    this.plot.setData([times, ...DASHES.map((_, index) => rows.map((row) => row[index] ?? null))]);
    const isEmpty = rows.every((row) => row.every((value) => !value));
    const items = isEmpty
      ? [node("li", word(`empty_${this.name}`))]
      : this.keys.slice(0, lines.length).map(({ item }) => item);
    this.legend.replaceChildren(...items);
  }

  /** Write the values at that index, of the newest point for null. */
  write(index) {
    this.lines.forEach((line, number) => {
      const value = this.plot?.data[number + 1].at(index ?? -1);
      this.keys[number].write(word(line), value ?? null, this.format);
    });
  }
}

function key(index) {
  const item = document.createElement("li");
  const mark = document.createElement("i");
  mark.className = `line-${index}`;
  const label = document.createElement("span");
  const value = document.createElement("b");
  item.append(mark, label, value);
  return {
    item,
    mark,
    write(text, found, format) {
      label.textContent = text;
      value.textContent = found === null ? "–" : format(found);
    },
  };
}
