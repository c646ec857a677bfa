// What the gateway says of itself, as sentences, lights and tables.
import { button, el, node, replace, table } from "./elements.js";
import { FINDINGS } from "./findings.js";
import { notice } from "./gateway.js";
import { bytesText, count, duration, time, word } from "./language.js";
import { lookUp } from "./lookup.js";

const MOST_NAMES = 5;
let reasons = new Map(); // of dependencies that are not ok, by name
let commands = null; // the program and the configuration of commands, null for image-gateway-admin
let address = location.host; // of the admin port on the gateway's machine: a tunnel has another one
const WITHOUT_CODE = {
  none: "no_code",
  no_answer: "no_answer_line",
  timeout: "timeout",
  body_lost: "body_lost",
  other: "other_code",
};
// As the browsers count them: a test compares the bounds.
const FIELD = {
  paint: { bounds: [0.25, 0.5, 1, 1.5, 2.5, 4, 6, 10, 30], text: duration },
  size: { bounds: [1e3, 3e3, 1e4, 3e4, 1e5, 3e5, 1e6, 3e6, 1e7], text: bytesText },
};
const SOURCES = ["network", "cache", "unknown"];
const SHARES = [0.5, 0.75, 0.95];
const MOST_NGINX = 20;
const MOST_EVENTS = 10;
const SILENT = 30; // seconds, as of the alert
const LEVELS = ["good", "warning", "bad"];

/** A button that looks the image up; the page shows the beginning of a long id. */
function idButton(id, style = null) {
  if (id === null) return "–";
  const made = button(id, () => lookUp(id, style), "id");
  made.title = id;
  return made;
}

/** Show the answer of /console; `requeue` gets the entry of the dead list to try again. */
export function show(shown, requeue) {
  const { symptoms, renewals, errors, replicas } = shown;
  commands = shown.commands ?? null;
  address = shown.address ?? location.host;
  // Without the request ids of COS, which differ each time: the live region would never be quiet.
  reasons = new Map(
    shown.dependencies.map(({ name, reason }) => [name, reason?.replaceAll(/ \(request [^)]*\)/g, "")]),
  );
  const [first, ...others] = symptoms;
  const made = lights(shown);
  const worst = worstOf(made);
  // Reasons of lights that no problem names
  const unsaid = made.filter(
    ({ name, level, reason }) =>
      level !== "good" && reason && !symptoms.some(({ values }) => values.dependency === name),
  );
  // No light is worse than the headline.
  const level = LEVELS[Math.max(LEVELS.indexOf(first?.level ?? "good"), LEVELS.indexOf(worst?.level ?? "good"))];
  el("headline").className = level;
  el("sentence").className = level;
  const all = replicas.length;
  replace(el("sentence"), [first ?? worst ?? "well", all, reasons.get(first?.values.dependency)], () =>
    first ? sentence(first, all) : worst ? notWell(worst, word("not_well", { light: stateOf(worst) })) : word("well"),
  );
  replace(el("remedy"), first?.name ?? null, () => remedy(first?.name));
  const more = first ? unsaid : unsaid.filter((light) => light !== worst);
  replace(el("symptoms"), [others, all, others.map(({ values }) => reasons.get(values.dependency)), more], () => [
    ...others.map((symptom) => {
      const line = node("li", "", symptom.level);
      line.append(...sentence(symptom, all), ...remedy(symptom.name));
      return line;
    }),
    ...more.map((light) => {
      const line = node("li", "", light.level);
      line.append(...notWell(light, stateOf(light)));
      return line;
    }),
  ]);
  el("lights").replaceChildren(...made.map(cell));
  showRenewals(renewals, requeue);
  replace(el("errors"), errors, () =>
    table(
      ["code", "count", "last", "time"],
      errors.map((error) => [errorLink(error.code), count(error.count), idButton(error.image_id), time(error.at)]),
    ),
  );
  replace(el("replicas"), [replicas, renewals === null], () => [
    table(
      [
        "name",
        "version",
        "entry_key",
        "started",
        "memory_used",
        "streams",
        "open_files",
        "rate",
        "error_rate",
        "problems",
        "time",
      ],
      replicas.map((replica) => [
        replica.name,
        replica.version,
        replica.entry_key ?? "–",
        time(replica.started),
        replica.memory_bytes === null ? "–" : bytesText(replica.memory_bytes),
        count(replica.streams),
        replica.open_files === null ? "–" : count(replica.open_files),
        count(replica.requests_per_second),
        count(replica.errors_per_second),
        count(replica.symptoms.length),
        time(replica.at),
      ]),
    ),
    ...(renewals === null ? [node("p", word("no_others"), "soft")] : []),
  ]);
  const until = shown.debug_until;
  el("level").textContent = until ? word("level_on", { time: time(until) }) : word("level_off");
  el("debug").textContent = word(until ? "debug_off" : "debug_on");
}

/** Say that the gateway does not answer, or what it answered; `at` is the time of its last answer, 0 for none. */
export function showLost(text, at) {
  el("headline").className = "bad";
  el("sentence").className = "bad";
  replace(el("remedy"), "lost", () => []);
  replace(el("sentence"), [text, at], () => (at ? `${text} ${word("old", { time: time(at) })}` : text));
  replace(el("symptoms"), "lost", () => []);
  for (const light of el("lights").children) light.className = "old";
}

/** The sentence of a problem, why a dependency has it, and which of `all` replicas has it since when. */
function sentence({ name, values, since, replicas }, all) {
  const numbers = Object.entries(values).map(([key, value]) => [key, typeof value === "number" ? count(value) : value]);
  const names = replicas.slice(0, MOST_NAMES);
  if (replicas.length > names.length) names.push(word("more", { count: count(replicas.length - names.length) }));
  const whose = replicas.length === all && all > 1 ? word("every_replica") : names.join(", ");
  const where = word(since === null ? "where" : "where_since", { replicas: whose, since: since && time(since) });
  const said = Object.fromEntries(numbers);
  if (Object.hasOwn(WITHOUT_CODE, said.code)) said.code = word(WITHOUT_CODE[said.code]);
  const more = "code" in values ? `${where} · ${word("of_bucket", said)}` : where;
  const reason = reasons.get(values.dependency);
  return [word(name, said), " ", node("small", reason ? `${reason} · ${more}` : more)];
}

/** The worst light that is not good. */
const worstOf = (made) =>
  made
    .filter(({ level }) => level !== "good")
    .sort((first, second) => LEVELS.indexOf(second.level) - LEVELS.indexOf(first.level))[0];

const stateOf = ({ label, state }) => `${label} ${state}`;

const notWell = ({ reason }, text) => (reason ? [text, " ", node("small", reason)] : [text]);

/** The cell of a light: its name, its state, and a time. Why it is not good is said in the headline, or below it. */
function cell({ label, state, time, level }) {
  const made = node("li", "", level);
  made.append(node("b", label, "label"), node("i", "", "mark"), node("span", state), node("small", time, "time"));
  return made;
}

/** List the events, the newest first. */
export function showEvents(events) {
  const newest = events.slice(-MOST_EVENTS).reverse();
  replace(el("events"), newest, () =>
    newest.map(({ name, at, values, replica }) => {
      const line = node("li", "");
      line.append(node("b", time(at)), ` ${replica ? `${replica}: ` : ""}${word(`event_${name}`, values)}`);
      return line;
    }),
  );
}

/** What browsers reported in the time of `points`: percentiles of largest paints and of the sizes of pictures. */
export function showField(points) {
  const rows = Object.entries(FIELD).flatMap(([kind, { bounds, text }]) =>
    SOURCES.flatMap((source) => {
      const counts = [...bounds, 0].map((_, index) =>
        points.reduce((all, point) => all + (point.counts[`${kind} ${source} ${index}`] ?? 0), 0),
      );
      const all = counts.reduce((sum, found) => sum + found, 0);
      const shares = SHARES.map((share) => text(quantile(share, counts, bounds)));
      return all ? [[word(`field_${kind}`), word(`from_${source}`), ...shares, count(all)]] : [];
    }),
  );
  el("seen").hidden = !rows.length;
  replace(el("field"), rows, () => table(["what", "source", "50 %", "75 %", "95 %", "count"], rows));
}

/** The value below which that share of the counts is, as the gateway and Prometheus compute it. */
function quantile(share, counts, bounds) {
  let rank = share * counts.reduce((sum, found) => sum + found, 0);
  let lower = 0;
  for (const [index, bound] of bounds.entries()) {
    if (counts[index] && rank <= counts[index]) return lower + ((bound - lower) * rank) / counts[index];
    rank -= counts[index];
    lower = bound;
  }
  return lower;
}

/** The section of the runbook that helps with a problem, and the command that names more. */
function remedy(name) {
  const found = FINDINGS[name];
  if (!found?.alert) return [];
  const made = node("p", "", "remedy");
  const link = node("a", word("remedy", { alert: found.alert }));
  link.href = `docs/runbook#${found.alert.toLowerCase()}`;
  link.target = "_blank";
  link.rel = "noopener";
  made.append(link);
  const here = toPaste(found.command);
  if (here !== null) {
    const code = node("code", here);
    made.append(code, copyButton(code));
  }
  return [made];
}

/** The command as it runs beside this gateway: in `dev`, with the program and the configuration of `dev`.
 *
 * null if it is about a server's log or services, which `dev` has not.
 */
function toPaste(command) {
  const here = command.replaceAll("{{ $labels.instance }}", address);
  if (!commands) return here;
  if (!/^(image-gateway-admin|curl) /.test(here)) return null;
  const [program, config] = commands;
  return here
    .split(/; journalctl /)[0]
    .replaceAll(/image-gateway-admin (\w+)/g, (_, name) => `${program} ${name} --config ${config}`);
}

function copyButton(code) {
  return button(word("copy_command"), async () => {
    try {
      await navigator.clipboard.writeText(code.textContent); // only on https and localhost
      notice(word("copied_command"), "good");
    } catch {
      getSelection().selectAllChildren(code);
      notice(word("not_copied"), "warning");
    }
  });
}

function lights({ dependencies, credentials, clock_difference, symptoms, nginx = [] }) {
  const others = dependencies.filter(({ name }) => name !== "credentials"); // each source has a light of its own
  const made = others.map(({ name, state, seconds }) => ({
    name,
    label: name === "outside" ? word("outside") : name,
    state: word(`state_${state}`),
    time: seconds === null ? "" : duration(seconds),
    level: { ok: "good", degraded: "warning", down: "bad" }[state],
    reason: reasons.get(name),
  }));
  for (const { source, buckets, state, seconds_left, reason } of credentials) {
    const left = seconds_left === null ? word("never_end") : word("left", { seconds: count(seconds_left) });
    const whose = credentials.length > 1 ? [buckets.join(", ")] : [];
    made.push({
      label: [word("credentials", { source }), ...whose].join(" "),
      state: word(`state_${state}`),
      time: state === "ended" ? "" : left,
      level: { ok: "good", ending: "warning", ended: "bad" }[state],
      reason,
    });
  }
  const differs = symptoms.some(({ name }) => name === "clock_differs");
  const seconds = Math.abs(clock_difference) < 1.5 ? 0 : Math.round(clock_difference); // Date has whole seconds
  made.push({
    label: word("clock"),
    state: word(seconds === 0 ? "clock_same" : seconds > 0 ? "clock_slow" : "clock_fast"),
    time: seconds === 0 ? "" : `${Math.abs(seconds)} s`,
    level: differs ? "warning" : "good",
  });
  for (const { name, seconds } of [...nginx]
    .sort((asker, other) => other.seconds - asker.seconds)
    .slice(0, MOST_NGINX)) {
    made.push({
      label: `nginx ${name}`,
      state: word("asked"),
      time: word("ago", { seconds: count(Math.round(seconds)) }),
      level: seconds > SILENT ? "warning" : "good",
    });
  }
  return made;
}

function showRenewals(renewals, requeue) {
  el("queue").textContent = renewals
    ? word("queue", {
        queued: count(renewals.queued),
        due: count(renewals.due),
        dead: count(renewals.dead),
        lag: count(Math.round(renewals.lag_seconds ?? 0)),
      })
    : word("no_redis");
  const minutes = renewals?.by_minute ?? [];
  el("upcoming").hidden = !renewals;
  replace(el("ahead"), minutes, () => {
    const most = Math.max(1, ...minutes);
    return minutes.map((due, index) => {
      const bar = node("li", "");
      bar.append(node("span", count(due)), node("i", ""), node("small", word("minute", { minute: index + 1 })));
      bar.style.setProperty("--share", String(due / most));
      return bar;
    });
  });
  const dead = renewals?.dead_entries ?? [];
  el("given-up").hidden = !renewals;
  el("requeue").hidden = !renewals?.dead;
  el("shown-dead").textContent = word("shown_dead", { shown: count(dead.length), dead: count(renewals?.dead ?? 0) });
  el("shown-dead").hidden = dead.length >= (renewals?.dead ?? 0);
  replace(el("dead"), dead, () =>
    table(
      ["image_id", "style", "reason", "attempts", "time", "again"],
      dead.map((renewal) => [
        idButton(renewal.image_id, renewal.style),
        renewal.style ?? "–",
        renewal.reason,
        String(renewal.attempts),
        time(renewal.at),
        button(word("retry"), () => requeue(renewal)),
      ]),
    ),
  );
}

function errorLink(code) {
  const link = node("a", code);
  link.href = `docs/errors#${code}`;
  link.target = "_blank";
  link.rel = "noopener";
  return link;
}
