// The language of the page: words, numbers and times.
import { FINDINGS } from "./findings.js";
import { WORDS } from "./words.js";

// Another program at this address, such as one behind the same forwarded port, may have stored another language.
const stored = localStorage.getItem("language");
let chosen = Object.hasOwn(WORDS, stored) ? stored : navigator.language.startsWith("zh") ? "zh" : "en";

/** The name of the language: a key of WORDS. */
export const language = () => chosen;

/** Choose a language, also for later visits. */
export function choose(name) {
  chosen = name;
  localStorage.setItem("language", name);
}

const text = (name) =>
  Object.hasOwn(WORDS[chosen], name)
    ? WORDS[chosen][name]
    : Object.hasOwn(FINDINGS, name)
      ? FINDINGS[name][chosen]
      : name;

/** The words of that name with their values; the name itself where there are none, such as an error code. */
export const word = (name, values = {}) => text(name).replace(/\{(\w+)\}/g, (_, key) => String(values[key] ?? "?"));

const locale = () => (chosen === "zh" ? "zh-CN" : "en-GB");

/** A time in Unix seconds as hours, minutes and seconds; with the date unless it is of today. */
export function time(at) {
  const date = new Date(at * 1000);
  const clock = date.toLocaleTimeString(locale(), { hour12: false });
  return date.toDateString() === new Date().toDateString() ? clock : `${date.toLocaleDateString(locale())} ${clock}`;
}

/** Hours and minutes for an axis, with seconds if `precise`. */
export const clock = (at, precise) =>
  new Date(at * 1000).toLocaleTimeString(locale(), {
    hour12: false,
    hour: "2-digit",
    minute: "2-digit",
    ...(precise ? { second: "2-digit" } : {}),
  });

/** A number with at most three digits that count. */
export const number = (value) =>
  new Intl.NumberFormat(locale(), { notation: "compact", maximumSignificantDigits: 3 }).format(value);

/** Bytes in kB, MB or GB, with three digits. */
export function bytesText(value) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const power = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(1, value)) / 3)));
  return `${new Intl.NumberFormat(locale(), { maximumSignificantDigits: 3 }).format(value / 1000 ** power)} ${units[power]}`;
}

/** Seconds as ms below one second, with at most three digits, and none below a tenth of a ms. */
export const duration = (seconds) =>
  seconds < 0.9995 ? `${number(Math.round(seconds * 10_000) / 10)} ms` : `${number(seconds)} s`;

/** All digits of a whole number, in groups. */
export const count = (value) => new Intl.NumberFormat(locale()).format(value);

/** Write the words of every element with `data-text`, in the chosen language. */
export function writeTexts() {
  document.documentElement.lang = locale();
  document.title = `${word("title")} · ${location.host}`;
  for (const place of document.querySelectorAll("[data-text]")) place.textContent = word(place.dataset.text);
  for (const place of document.querySelectorAll("[data-hint]")) place.placeholder = word(place.dataset.hint);
}
