import type { SmartImageConfig } from "../core/config.js";
import type { FailureKind } from "../core/failure.js";
import { type MessageKey, message } from "./messages.js";

// ms during which failures are collected.
const COLLECT = 1000;

/** Elements whose failure is displayed, each with its text. */
const failures = new Map<HTMLElement, string>();
let region: HTMLElement | undefined;
let isDue: boolean | undefined;

/**
 * Write the words for a failure or state, `key`, if there is one, into the overlay of `host`, and the label of its button.
 * `isFailed`: say them, too. `alt`: the text of the picture. `own`: texts of the page.
 */
export function write(
  host: HTMLElement,
  text: HTMLElement,
  button: HTMLElement,
  key: MessageKey | FailureKind | false,
  isFailed: boolean,
  alt: string | null,
  own: SmartImageConfig["messages"],
): void {
  const said = key ? message(key, host, own) : "";
  const label = message("retry", host, own);
  announce(host, isFailed && said, alt, own);
  text.ariaHidden = `${alt === ""}`;
  text.textContent = said;
  button.ariaLabel = `${label}: ${alt || said}`;
  button.textContent = label;
}

/**
 * Say by the live region of the page that `host`, a picture of `alt`, failed, or how many have, once a second at most.
 * `said`: why it failed; nothing if it has not. `own`: texts of the page.
 */
function announce(
  host: HTMLElement,
  said: string | false,
  alt: string | null,
  own: SmartImageConfig["messages"],
): void {
  const known = failures.get(host);
  failures.delete(host);
  // Decorative pictures are silent.
  if (!said || alt === "") return;
  const text = alt ? `${alt}: ${said}` : said;
  failures.set(host, text);
  if (text === known) return;
  region ??= document.createElement("output");
  region.style.cssText = "position:fixed;clip-path:inset(50%)";
  if (!isDue) setTimeout(say, COLLECT, region, own);
  isDue = true;
  if (!region.isConnected) document.body.append(region);
}

function say(region: HTMLElement, own: SmartImageConfig["messages"]): void {
  isDue = false;
  const [first, another] = failures;
  // Two texts that are the same are one to assistive technology.
  region.textContent = "";
  if (first) region.append(another ? message("several", first[0], own).replace("{n}", `${failures.size}`) : first[1]);
}
