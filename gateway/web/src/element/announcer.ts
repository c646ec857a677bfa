import { message } from "./messages.js";

// ms during which failures are collected.
const COLLECT = 1000;

/** Elements whose failure is displayed, each with its text. */
export const failures = new Map<HTMLElement, string>();
let region: HTMLElement | undefined;
let isDue: boolean | undefined;

/** Say by the live region of the page that `host` failed, or how many have, once a second at most. */
export function announce(host: HTMLElement, text: string): void {
  failures.set(host, text);
  region ??= document.createElement("output");
  region.style.cssText = "position:fixed;clip-path:inset(50%)";
  if (!isDue) setTimeout(say, COLLECT, region);
  isDue = true;
  if (!region.isConnected) document.body.append(region);
}

function say(region: HTMLElement): void {
  isDue = false;
  const [first, another] = failures;
  // Two texts that are the same are one to assistive technology.
  region.textContent = "";
  if (first) region.append(another ? message("several", first[0]).replace("{n}", `${failures.size}`) : first[1]);
}
