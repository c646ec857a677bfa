import type { SmartImageConfig } from "../core/config.js";
import { message } from "./messages.js";

// ms during which failures are collected.
const COLLECT = 1000;

/** Elements whose failure is displayed, each with its text. */
const failures = new Map<HTMLElement, string>();
let region: HTMLElement | undefined;
let isDue: boolean | undefined;

/**
 * Say by the live region of the page that `host` failed, or how many have, once a second at most. An empty text: it has not.
 * `own`: texts of the page.
 */
export function announce(host: HTMLElement, text: string, own: SmartImageConfig["messages"]): void {
  const known = failures.get(host);
  failures.delete(host);
  if (!text) return;
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
