import type { MonitorOptions } from "./config.js";
import type { FailureKind } from "./failure.js";

/** How a picture's story ended: at once, after retries, not at all, with a stand-in. */
export type LoadResult = "loaded" | "recovered" | "failed" | "fallback";
/** Where the bytes came from, as far as the browser tells. */
export type BytesSource = "cache" | "network" | "unknown";

/** One picture's story; `seconds` is null when nothing was loaded. */
export interface LoadReport {
  result: LoadResult;
  seconds: number | null;
  source?: BytesSource;
}

/** The body of a beacon: counts only, neither ids nor addresses. `buckets[i]` counts loads within `BOUNDS[i]` seconds. */
export interface Beacon {
  version: 1;
  loads: Partial<Record<LoadResult, number>>;
  retries: Partial<Record<FailureKind, number>>;
  sources: Partial<Record<BytesSource, number>>;
  seconds: { buckets: number[]; sum: number; count: number };
}

/** Upper bounds of the histogram's buckets in seconds; the last bucket, which has no bound, follows them. */
export const BOUNDS: readonly number[] = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

const ENDPOINT = "/api/v1/monitoring/beacons";
const EVERY = 60_000;

/** Gathers what a page saw and sends it as a beacon when the page is hidden, and every minute. */
export class Monitor {
  #beacon: Beacon | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #listens = false;
  #supported: boolean | undefined;
  readonly #chosen: boolean;

  constructor(
    private readonly options: () => MonitorOptions,
    private readonly base: string,
    random: () => number = Math.random,
  ) {
    this.#chosen = random() < (options().sample ?? 1);
  }

  /** Count the end of a picture's story, or a retry by its reason. */
  report(seen: LoadReport | FailureKind): void {
    const beacon = this.#open();
    if (!beacon) return;
    if (typeof seen === "string") {
      count(beacon.retries, seen);
      return;
    }
    const { result, seconds, source } = seen;
    count(beacon.loads, result);
    if (source) count(beacon.sources, source);
    if (seconds === null) return;
    const index = BOUNDS.findIndex((bound) => seconds <= bound);
    const { buckets } = beacon.seconds;
    const bucket = index < 0 ? BOUNDS.length : index;
    buckets[bucket] = (buckets[bucket] ?? 0) + 1;
    beacon.seconds.sum += seconds;
    beacon.seconds.count++;
  }

  /** Send what was gathered, if the gateway takes beacons. `text/plain`, so that no preflight is needed. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const { endpoint } = this.options();
    this.#supported ??= !!endpoint || (await takesBeacons(this.base));
    const beacon = this.#beacon;
    this.#beacon = undefined;
    if (beacon && this.#supported) navigator.sendBeacon(endpoint ?? this.base + ENDPOINT, JSON.stringify(beacon));
  }

  #open(): Beacon | undefined {
    if (!this.#chosen || this.#supported === false) return undefined;
    this.#timer ??= setTimeout(() => this.flush(), this.options().interval ?? EVERY);
    if (!this.#listens) {
      this.#listens = true;
      globalThis.document?.addEventListener("visibilitychange", () => document.hidden && this.flush());
      // Asked early: a page that is being left has no time for it.
      if (!this.options().endpoint)
        void takesBeacons(this.base).then((taken) => {
          this.#supported = taken;
        });
    }
    this.#beacon ??= {
      version: 1,
      loads: {},
      retries: {},
      sources: {},
      seconds: { buckets: new Array<number>(BOUNDS.length + 1).fill(0), sum: 0, count: 0 },
    };
    return this.#beacon;
  }
}

function count<K extends string>(counts: Partial<Record<K, number>>, key: K): void {
  counts[key] = (counts[key] ?? 0) + 1;
}

async function takesBeacons(base: string): Promise<boolean> {
  try {
    const { features } = (await (await fetch(`${base}/static/config.json`)).json()) as {
      features?: { beacons?: boolean };
    };
    return !!features?.beacons;
  } catch {
    return false;
  }
}
