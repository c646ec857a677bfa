// The console: polls JSON every five seconds while it is visible. Ids, reasons and errors are others' text: they are
// only ever set as text, never as markup.
import { charts } from "./charts.js";
import { WORDS } from "./words.js";

const POLL = 5000;
const MOST = { fine: 180, coarse: 1440 };
const el = (id) => document.getElementById(id);
const points = { fine: [], coarse: [] };
let language = localStorage.getItem("language") ?? (navigator.language.startsWith("zh") ? "zh" : "en");
let shown = null;
let timer = 0;
let since = 0;

const word = (name, values = {}) =>
  (WORDS[language][name] ?? name).replace(/\{(\w+)\}/g, (_, key) => String(values[key] ?? "?"));
const time = (at) => new Date(at * 1000).toLocaleTimeString(language);

function node(name, text, className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  made.className = className;
  return made;
}

function table(columns, rows) {
  if (!rows.length) return node("p", word("none"));
  const made = document.createElement("table");
  const head = made.createTHead().insertRow();
  for (const column of columns) {
    const cell = node("th", word(column));
    cell.scope = "col";
    head.append(cell);
  }
  const body = made.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    for (const value of row) line.insertCell().append(value);
  }
  return made;
}

function idButton(id) {
  if (id === null) return "–";
  const made = node("button", id);
  made.type = "button";
  made.addEventListener("click", () => {
    el("id").value = id;
    explain();
  });
  return made;
}

// Leaves what did not change alone, so that focus and the live region stay quiet.
function replace(place, key, build) {
  const text = JSON.stringify([language, key]);
  if (place.dataset.key === text) return;
  place.dataset.key = text;
  place.replaceChildren(...[build()].flat());
}

function writeTexts() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  document.title = word("title");
  for (const place of document.querySelectorAll("[data-text]")) place.textContent = word(place.dataset.text);
  for (const option of el("window").options) option.textContent = word(`w${option.value}`);
}

function show() {
  if (shown === null) return;
  const { symptoms, dependencies, renewals, errors, replicas } = shown;
  const [first, ...others] = symptoms;
  el("sentence").className = first?.level ?? "good";
  replace(el("sentence"), first ?? "well", () => (first ? word(first.name, first.values) : word("well")));
  replace(el("symptoms"), others, () => others.map((one) => node("li", word(one.name, one.values), one.level)));
  const skew = Math.round(shown.clock_difference);
  const lights = dependencies.map(({ name, state, seconds, reason }) =>
    node(
      "li",
      [name, state, `${Math.round(seconds * 1000)} ms`, reason].filter(Boolean).join(" · "),
      state === "ok" ? "good" : "bad",
    ),
  );
  lights.push(node("li", word("clock", { seconds: skew })));
  el("lights").replaceChildren(...lights);
  el("queue").textContent = renewals
    ? word("queue", { ...renewals, lag: Math.round(renewals.lag_seconds ?? 0) })
    : word("no_redis");
  el("requeue").disabled = !renewals?.dead;
  replace(el("ahead"), renewals?.by_minute, () =>
    (renewals?.by_minute ?? []).map((count) => node("li", String(count))),
  );
  const dead = renewals?.dead_entries ?? [];
  replace(el("dead"), dead, () =>
    table(
      ["image_id", "reason", "attempts", "time"],
      dead.map((one) => [idButton(one.image_id), one.reason, String(one.attempts), time(one.at)]),
    ),
  );
  replace(el("errors"), errors, () =>
    table(
      ["code", "count", "last", "time"],
      errors.map((one) => [one.code, String(one.count), idButton(one.image_id), time(one.at)]),
    ),
  );
  replace(el("replicas"), replicas, () =>
    replicas
      ? table(
          ["name", "rate", "error_rate", "time"],
          replicas.map((one) => [
            one.name,
            String(one.requests_per_second),
            String(one.errors_per_second),
            time(one.at),
          ]),
        )
      : node("p", word("no_redis")),
  );
  const until = shown.debug_until;
  el("level").textContent = until ? word("level_on", { time: time(until) }) : word("level_off");
  el("debug").textContent = word(until ? "debug_off" : "debug_on");
  const span = Number(el("window").value);
  draw(
    (span > 900 ? points.coarse : points.fine).filter((point) => point.at > shown.now - span),
    shown.now - span,
    shown.now,
  );
}

async function call(path, options = {}) {
  const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(10_000), ...options });
  const body = await answer.json();
  if (!answer.ok) throw new Error(`${body.code}: ${body.message}`);
  return body.data;
}

async function poll() {
  clearTimeout(timer);
  try {
    shown = await call(`api/v1/monitoring/console?since=${Math.floor(since)}`);
    for (const kind of ["fine", "coarse"]) {
      const last = points[kind].at(-1)?.at ?? 0;
      points[kind] = [...points[kind], ...shown.points[kind].filter((point) => point.at > last)].slice(-MOST[kind]);
    }
    since = points.fine.at(-1)?.at ?? 0;
    show();
  } catch {
    el("sentence").className = "bad";
    replace(el("sentence"), "lost", () => word("lost"));
  }
  if (!document.hidden) timer = setTimeout(poll, POLL);
}

async function change(path, options) {
  const token = el("token").value;
  el("notice").textContent = "";
  if (!token) {
    el("notice").textContent = word("need_token");
    return null;
  }
  try {
    const data = await call(path, { ...options, headers: { Authorization: `Bearer ${token}` } });
    el("notice").textContent = word("done");
    return data;
  } catch (error) {
    el("notice").textContent = word("refused", { message: error.message });
    return null;
  }
}

const post = async (path, body) => {
  await change(path, { method: "POST", body: JSON.stringify(body) });
  await poll();
};

async function confirmed(question) {
  const dialog = el("confirm");
  el("question").textContent = question;
  el("notice").textContent = "";
  dialog.returnValue = "no";
  dialog.showModal();
  await new Promise((done) => dialog.addEventListener("close", done, { once: true }));
  return dialog.returnValue === "yes";
}

const explainPath = (id) => `api/v1/monitoring/explain/${encodeURIComponent(id)}`;

async function explain() {
  const found = await change(explainPath(el("id").value), {});
  el("explanation").hidden = found === null;
  el("explanation").textContent = JSON.stringify(found, null, 2);
}

el("lookup").addEventListener("submit", (event) => {
  event.preventDefault();
  explain();
});
el("purge").addEventListener("click", async () => {
  const id = el("id").value;
  if (el("lookup").reportValidity() && (await confirmed(word("sure_purge", { id }))))
    await post("api/v1/cache/purge", { image_ids: [id] });
});
el("requeue").addEventListener("click", async () => {
  if (await confirmed(word("sure_requeue"))) await post("api/v1/monitoring/queue/requeue", {});
});
el("debug").addEventListener("click", () => post("api/v1/monitoring/debug", { on: !shown?.debug_until }));
el("curl").addEventListener("click", async () => {
  if (!el("lookup").reportValidity()) return;
  // encodeURIComponent leaves no character that a shell reads within double quotes.
  const address = new URL(explainPath(el("id").value), location.href);
  await navigator.clipboard.writeText(`curl -H "Authorization: Bearer $TOKEN" "${address}"`);
  el("notice").textContent = word("copied");
});
el("configuration").addEventListener("toggle", async () => {
  const { settings } = await call("api/v1/monitoring/settings");
  el("settings").textContent = JSON.stringify(settings, null, 2);
});
el("session").addEventListener("submit", (event) => event.preventDefault());
el("token").value = sessionStorage.getItem("token") ?? "";
el("token").addEventListener("input", () => sessionStorage.setItem("token", el("token").value));
el("language").value = language;
el("language").addEventListener("change", () => {
  language = el("language").value;
  localStorage.setItem("language", language);
  writeTexts();
  show();
});
el("window").addEventListener("change", show);
document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : poll()));

const draw = charts(el("charts"), window.uPlot);
writeTexts();
poll();
