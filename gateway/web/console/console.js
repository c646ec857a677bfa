// The console: polls JSON every five seconds while it is visible.
import { confirmed, el } from "./elements.js";
import { call, failure, NoAnswer, post, showToken } from "./gateway.js";
import { choose, language, word, writeTexts } from "./language.js";
import { followAddress, start } from "./lookup.js";
import { show, showEvents, showField, showLost } from "./state.js";

const POLL = 5000;
const MOST = { fine: 180, coarse: 1440 };
const points = { fine: [], coarse: [] };
let shown = null;
let lost = null;
let timer = 0;
let polling = null;
let draw = () => {}; // until the charts are there

function showAll() {
  if (shown !== null) {
    show(shown, requeueOne);
    drawCharts();
  }
  if (lost !== null)
    showLost(
      lost instanceof NoAnswer ? word("no_answer") : word("answers_error", { message: lost.message }),
      shown?.now ?? 0,
    );
}

function drawCharts() {
  // COS's time, which `now` is, may be another one.
  const now = shown.machine_now;
  const span = Number(el("window").value);
  const kind = span > 900 ? "coarse" : "fine";
  // A young gateway has no earlier points: its charts have a minute at least, and no empty past.
  const oldest = points[kind][0]?.at ?? now;
  const from = Math.max(now - span, Math.min(oldest, now - 60));
  const events = (shown.events ?? []).filter((event) => event.at > from);
  showEvents(events);
  const within = points[kind].filter((point) => point.at > from);
  showField(within);
  draw(
    within,
    from,
    now,
    events.map((event) => event.at),
  );
}

async function poll() {
  try {
    const since = Math.floor(points.fine.at(-1)?.at ?? 0);
    shown = await call(`api/v1/monitoring/console?since=${since}`);
    for (const kind of ["fine", "coarse"]) {
      const last = points[kind].at(-1)?.at ?? 0;
      points[kind] = [...points[kind], ...shown.points[kind].filter((point) => point.at > last)].slice(-MOST[kind]);
    }
    lost = null;
  } catch (error) {
    lost = error;
  }
  showAll();
}

/** Poll now, and from then on every five seconds; one poll at a time. */
async function pollAndGoOn() {
  clearTimeout(timer);
  polling ??= poll().finally(() => {
    polling = null;
  });
  await polling;
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(pollAndGoOn, POLL);
}

async function requeueOne({ image_id, style }) {
  await post("api/v1/monitoring/queue/requeue", { entries: [{ image_id, style }] });
  await pollAndGoOn();
}

el("requeue").addEventListener("click", async () => {
  if (!(await confirmed(word("sure_requeue")))) return;
  await post("api/v1/monitoring/queue/requeue", {});
  await pollAndGoOn();
});
el("debug").addEventListener("click", async () => {
  await post("api/v1/monitoring/debug", { on: !shown?.debug_until });
  await pollAndGoOn();
});
el("configuration").addEventListener("toggle", async () => {
  if (!el("configuration").open) return;
  try {
    const { settings, needs_restart } = await call("api/v1/monitoring/settings");
    el("settings").textContent = JSON.stringify(settings, null, 2);
    el("settings").className = "";
    el("restart").textContent = needs_restart.length ? word("needs_restart", { keys: needs_restart.join(", ") }) : "";
  } catch (error) {
    el("settings").textContent = failure(error);
    el("settings").className = "bad";
    el("restart").textContent = "";
  }
});
el("session").addEventListener("submit", (event) => {
  event.preventDefault();
  followAddress();
});
el("token").value = sessionStorage.getItem("token") ?? "";
showToken(el("token").value !== "");
el("key").addEventListener("click", () => {
  showToken(true, el("secret").hidden);
  el("token").focus();
});
el("place").textContent = location.host;
el("token").addEventListener("input", () => sessionStorage.setItem("token", el("token").value));
el("language").value = language();
el("language").addEventListener("change", () => {
  choose(el("language").value);
  writeTexts();
  showAll();
});
el("window").addEventListener("change", showAll);
document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : pollAndGoOn()));

// They scroll, so the keyboard must reach them.
for (const place of document.querySelectorAll(".rows")) place.tabIndex = 0;
writeTexts();
document.body.classList.toggle("wall", new URLSearchParams(location.search).has("wall"));
start(pollAndGoOn);
pollAndGoOn();
// Without them the rest of the page works.
import("./charts.js").then(
  ({ charts }) => {
    draw = charts(el("charts"), el("cursor"), window.uPlot);
    showAll();
  },
  (error) => {
    el("charts").textContent = word("no_charts", { message: error.message });
  },
);
