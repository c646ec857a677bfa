import { message } from "./messages.js";

// ms during which failures are collected.
const COLLECT = 1000;

/** Failed elements that nothing has been said of, each with its text. */
export const unsaid = new Map<HTMLElement, string>();
let region: HTMLElement | undefined;

/** Say by the live region of the page that `host` failed. Failures within a second are said as one. */
export function announce(host: HTMLElement, text: string): void {
  if (!unsaid.size) {
    setTimeout(say, COLLECT);
    region ??= document.createElement("output");
    region.style.cssText = "position:fixed;clip-path:inset(50%)";
    // Empty at first: a region that appears together with its text is not announced, nor is the text that it has.
    region.textContent = "";
    document.body.append(region);
  }
  unsaid.set(host, text);
}

function say(): void {
  const [first, another] = unsaid;
  if (!first || !region) return;
  region.textContent = another ? message("several", first[0]).replace("{n}", `${unsaid.size}`) : first[1];
  unsaid.clear();
}
