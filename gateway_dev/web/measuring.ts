/** Where bytes came from: `memory` of the gateway, `COS` through it, the `browser`'s cache, or `COS itself`. */
export type Source = "memory" | "COS" | "browser" | "COS itself" | "unknown";

/** What a load took. `bytes` and `type` are null where the browser hides them. */
export interface Measured {
  source: Source;
  bytes: number | null;
  /** ms */
  time: number;
  type: string | null;
  pixels: { width: number; height: number } | null;
}

performance.setResourceTimingBufferSize(5000);

/** Measure what loaded `address` since `began` (`performance.now()`). */
export async function measure(address: string, began: number): Promise<Measured> {
  const elapsed = performance.now() - began;
  const entry = await entryOf(address, began);
  if (new URL(address).origin !== location.origin) {
    // Without Timing-Allow-Origin the browser tells another origin's times, and no sizes.
    return {
      source: entry ? "COS itself" : "browser",
      bytes: null,
      time: entry?.duration ?? elapsed,
      type: null,
      pixels: null,
    };
  }
  // What the browser has just kept tells the fields of the answer.
  const kept = await fetch(address, { cache: "force-cache" }).catch(() => undefined);
  const body = await kept?.blob().catch(() => undefined);
  const bytes = entry?.encodedBodySize || body?.size || null;
  // The natural size of an <img> with `srcset` depends on `sizes`. A drawing has no pixels.
  const pixels = (body && (await createImageBitmap(body).catch(() => null))) ?? null;
  const isFromBrowser = !entry || entry.transferSize === 0;
  const status = kept?.headers.get("Cache-Status") ?? "";
  const source = isFromBrowser ? "browser" : /;\s*hit/.test(status) ? "memory" : /fwd/.test(status) ? "COS" : "unknown";
  const type = kept?.headers.get("Content-Type")?.replace(/^image\/|\+xml$/g, "") ?? null;
  return { source, bytes, time: entry?.duration ?? elapsed, type, pixels };
}

/** The entry of a request since `began`, which comes a little after the event; undefined if there was no request. */
async function entryOf(address: string, began: number): Promise<PerformanceResourceTiming | undefined> {
  for (let tries = 0; tries < 3; tries++) {
    const entries = performance.getEntriesByName(address, "resource") as PerformanceResourceTiming[];
    const found = entries.findLast((entry) => entry.startTime >= began - 1 && entry.duration > 0);
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return undefined;
}

/** Return bytes in kB or MB. */
export function bytesText(bytes: number): string {
  const [value, unit] = bytes < 1e6 ? [bytes / 1e3, "kB"] : [bytes / 1e6, "MB"];
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${unit}`;
}
