/**
 * Hints for developers, each once, as warnings in the console. Bundlers take this module in development alone: the condition
 * `development` of `#hints` in package.json.
 */
import { config } from "./core/config.js";
import type { SmartImageElement } from "./element/smart-image.js";

const given = new Set<string>();

/** Watch the page's elements. */
export function watchForHints(): void {
  document.addEventListener("load", ({ target }) => isImage(target) && checkSizes(target), true);
  document.addEventListener("error", ({ target }) => isImage(target) && checkFailure(target), true);
  const type = "largest-contentful-paint";
  if (!PerformanceObserver.supportedEntryTypes.includes(type)) return;
  const paints = new PerformanceObserver((list) => {
    const { element } = list.getEntries().at(-1) as PerformanceEntry & { element?: Element };
    const image = element?.closest("smart-image");
    if (isImage(image) && !image.priority)
      hint(image, "is the largest picture of the first screen: with `priority` it does not wait for others.");
  });
  paints.observe({ type, buffered: true });
}

function checkSizes(image: SmartImageElement): void {
  const img = image.querySelector("img");
  const isChosen = /\d+w\b/.test(img?.srcset ?? "") && !image.sizes && !image.isLazy;
  if (isChosen && Math.abs(image.clientWidth - (image.width || innerWidth)) > 0.2 * image.clientWidth)
    hint(
      image,
      `is ${image.clientWidth} pixels wide, and the browser chose a file for another width: write \`sizes\`, as of <img>.`,
    );
}

function checkFailure(image: SmartImageElement): void {
  const failure = image.lastError as SmartImageElement["lastError"] & { isDoubted?: boolean };
  if (!config.baseUrl && !image.baseUrl && image.imageId && failure?.kind === "not_found")
    hint(image, 'was asked for at the page\'s own origin: call configureSmartImage({ baseUrl: "https://…" }).');
  else if (failure?.isDoubted)
    hint(
      image,
      "was refused to strangers, and the page may not send the visitor's cookie to ask why: list the page's origin in the " +
        'gateway\'s `server.cors_origins`, and call configureSmartImage({ credentials: "include" }).',
    );
}

function isImage(target: EventTarget | null | undefined): target is SmartImageElement {
  return (target as Partial<Element> | null)?.localName === "smart-image";
}

function hint(image: SmartImageElement, text: string): void {
  const kind = text.replace(/\d+/, "");
  if (given.has(kind)) return;
  given.add(kind);
  // biome-ignore lint/suspicious/noConsole: for developers alone
  console.warn(`<smart-image image-id="${image.imageId ?? ""}"> ${text}`, image);
}
