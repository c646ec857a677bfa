import type { MonitorOptions, SmartImageConfig } from "./config.js";
import type { FailureKind } from "./failure.js";

/** Outcome of a load: at the first attempt, after retries, failed, or failed with a fallback image. */
export type LoadResult = "loaded" | "recovered" | "failed" | "fallback";
/** Where the bytes came from, if the browser exposes it. */
export type BytesSource = "cache" | "network" | "unknown";

/** Outcome and duration of a load. */
export interface LoadReport {
  result: LoadResult;
  /** Null if the load failed. */
  seconds: number | null;
  /** How many requests for the bytes were sent; 1 by default. */
  attempts?: number;
  source?: BytesSource;
  /** Address of the bytes: the source is read from Resource Timing. It is not sent. */
  address?: string;
}

/** Observations counted by bucket: `buckets[i]` counts those of at most the i-th bound. */
export interface Histogram {
  buckets: number[];
  sum: number;
  count: number;
}

/**
 * Body of a beacon. It has counts only: no ids, no addresses. `seconds`: how long loads took. `paints`: the largest paint of
 * the page, if it is one of the pictures. `sizes`: the bytes of pictures.
 */
export interface Beacon {
  version: 1;
  loads: Partial<Record<LoadResult, number>>;
  retries: Partial<Record<FailureKind, number>>;
  sources: Partial<Record<BytesSource, number>>;
  attempts: number;
  seconds: Histogram;
  paints?: Partial<Record<BytesSource, Histogram>>;
  sizes?: Partial<Record<BytesSource, Histogram>>;
}

/** Upper bounds of the histograms' buckets, in seconds and bytes; one more bucket has no upper bound. */
export const BOUNDS: readonly number[] = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
export const PAINT_BOUNDS: readonly number[] = [0.25, 0.5, 1, 1.5, 2.5, 4, 6, 10, 30];
export const SIZE_BOUNDS: readonly number[] = [1e3, 3e3, 1e4, 3e4, 1e5, 3e5, 1e6, 3e6, 1e7];

const ENDPOINT = "/api/v1/monitoring/beacons";
const EVERY = 60_000;
// Limits of the gateway for one beacon.
const MAX_LOADS = 10_000;
const MAX_SECONDS = 3600;
const MAX_BYTES = 1e8;

/** Counts loads of a page and sends the counts when the page is hidden, and every minute. */
export class Monitor {
  #beacon: Beacon | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #accepted: Promise<Features> | undefined;
  readonly #chosen: boolean;
  readonly #visibilityChanged = () => void (document.hidden && this.flush());

  constructor(
    private readonly options: () => MonitorOptions,
    private readonly base: string,
    random: () => number = Math.random,
    private readonly largestPaint: () => Paint | undefined = () => undefined,
  ) {
    this.#chosen = random() < (options().sample ?? 1);
  }

  /** Count a load, or a retry by its reason. */
  report(seen: LoadReport | FailureKind): void {
    if (!this.#chosen) return;
    this.#beacon ??= this.#open();
    const { loads, retries, sources, seconds } = this.#beacon;
    if (typeof seen === "string") {
      count(retries, seen);
      return;
    }
    count(loads, seen.result);
    this.#beacon.attempts += seen.attempts ?? 1;
    if (seen.seconds !== null) {
      observe(seconds, BOUNDS, Math.min(seen.seconds, MAX_SECONDS));
      const [found, bytes] = bytesOf(seen.address);
      count(sources, seen.source ?? found);
      if (bytes) observe(histogramOf(this.#beacon, "sizes", found), SIZE_BOUNDS, Math.min(bytes, MAX_BYTES));
    }
    if (Object.values(loads).reduce((sum, some) => sum + some, 0) >= MAX_LOADS) void this.flush();
  }

  /** Send the counts if the gateway accepts beacons. The type is text/plain, which needs no CORS preflight. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    globalThis.document?.removeEventListener("visibilitychange", this.#visibilityChanged);
    const beacon = this.#beacon;
    this.#beacon = undefined;
    if (!beacon) return;
    const paint = this.largestPaint();
    if (paint) observe(histogramOf(beacon, "paints", paint.source), PAINT_BOUNDS, Math.min(paint.seconds, MAX_SECONDS));
    const { beacons, paints } = await this.#isAccepted();
    if (!beacons) return;
    if (!paints) for (const name of ["paints", "sizes"] as const) delete beacon[name];
    navigator.sendBeacon(this.options().endpoint ?? this.base + ENDPOINT, JSON.stringify(beacon));
  }

  /** Begin a beacon, which `flush()` ends: without one there is neither a timer nor a listener. */
  #open(): Beacon {
    this.#timer = setTimeout(() => this.flush(), this.options().interval ?? EVERY);
    globalThis.document?.addEventListener("visibilitychange", this.#visibilityChanged);
    void this.#isAccepted(); // ask now: there is no time for a request when the page is closed
    return { version: 1, loads: {}, retries: {}, sources: {}, attempts: 0, seconds: emptyHistogram() };
  }

  #isAccepted(): Promise<Features> {
    this.#accepted ??= this.options().endpoint
      ? Promise.resolve({ beacons: true, paints: true })
      : featuresOf(this.base).catch(() => {
          this.#accepted = undefined; // not answered: ask again next time
          return {};
        });
    return this.#accepted;
  }
}

/** Make the monitor of a page, which follows the configuration. */
export function monitorOf(config: SmartImageConfig, base: string): Monitor {
  const options = () => (typeof config.monitor === "object" ? config.monitor : {});
  return new Monitor(options, base, Math.random, watchPaints());
}

// All have as many bounds.
function emptyHistogram(): Histogram {
  return { buckets: new Array<number>(BOUNDS.length + 1).fill(0), sum: 0, count: 0 };
}

function histogramOf(beacon: Beacon, name: "paints" | "sizes", source: BytesSource): Histogram {
  beacon[name] ??= {};
  beacon[name][source] ??= emptyHistogram();
  return beacon[name][source];
}

function observe(histogram: Histogram, bounds: readonly number[], value: number): void {
  const bucket = bounds.filter((bound) => value > bound).length;
  histogram.buckets[bucket] = (histogram.buckets[bucket] ?? 0) + 1;
  histogram.sum += value;
  histogram.count++;
}

interface Paint {
  seconds: number;
  source: BytesSource;
}

/**
 * Watch the largest contentful paint of the page. Return a function that returns it once, if it is a picture of a
 * `<smart-image>`, and if the page was not opened in the background.
 */
function watchPaints(): () => Paint | undefined {
  const type = "largest-contentful-paint";
  let last: (PerformanceEntry & { element?: Element; url?: string }) | undefined;
  const take = (entries: PerformanceEntryList) => {
    last = entries.at(-1) ?? last;
  };
  if (document.hidden || !PerformanceObserver.supportedEntryTypes.includes(type)) return () => undefined;
  const observer = new PerformanceObserver((list) => take(list.getEntries()));
  observer.observe({ type, buffered: true });
  return () => {
    take(observer.takeRecords());
    observer.disconnect();
    const found = last;
    last = undefined;
    if (!found?.element?.closest("smart-image")) return undefined;
    // Of a page that was rendered in advance the time counts from when it is shown.
    const [page] = performance.getEntriesByType("navigation") as (PerformanceEntry & { activationStart?: number })[];
    const seconds = Math.max(0, found.startTime - (page?.activationStart ?? 0)) / 1000;
    return { seconds, source: bytesOf(found.url)[0] };
  };
}

function count<K extends string>(counts: Partial<Record<K, number>>, key: K): void {
  counts[key] = (counts[key] ?? 0) + 1;
}

/** Return where the bytes of `address` came from, and how many they are, if the browser exposes it. */
function bytesOf(address = ""): [BytesSource, number] {
  const entries = globalThis.performance?.getEntriesByName(address) as PerformanceResourceTiming[];
  const entry = entries.at(-1);
  if (!entry?.decodedBodySize) return ["unknown", 0];
  return [entry.transferSize ? "network" : "cache", entry.encodedBodySize];
}

/** What the gateway accepts: reports, and those with paints and sizes. */
interface Features {
  beacons?: boolean;
  paints?: boolean;
}

async function featuresOf(base: string): Promise<Features> {
  const answer = await fetch(`${base}/static/config.json`);
  if (answer.status >= 500) throw new Error(`config.json: ${answer.status}`);
  return ((await answer.json()) as { features?: Features }).features ?? {};
}
