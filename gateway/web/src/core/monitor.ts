import type { MonitorOptions } from "./config.js";
import type { FailureKind } from "./failure.js";

/** Outcome of a load: at the first attempt, after retries, failed, or failed with a fallback image. */
export type LoadResult = "loaded" | "recovered" | "failed" | "fallback";
/** Where the bytes came from, if the browser tells. */
export type BytesSource = "cache" | "network" | "unknown";

/** Outcome and duration of a load; `seconds` is null if it failed. */
export interface LoadReport {
  result: LoadResult;
  seconds: number | null;
  source?: BytesSource;
}

/** Body of a beacon. It has counts only: no ids, no addresses. `buckets[i]` counts loads of at most `BOUNDS[i]` seconds. */
export interface Beacon {
  version: 1;
  loads: Partial<Record<LoadResult, number>>;
  retries: Partial<Record<FailureKind, number>>;
  sources: Partial<Record<BytesSource, number>>;
  seconds: { buckets: number[]; sum: number; count: number };
}

/** Upper bounds of the histogram's buckets in seconds; one more bucket has no upper bound. */
export const BOUNDS: readonly number[] = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

const ENDPOINT = "/api/v1/monitoring/beacons";
const EVERY = 60_000;

/** Counts loads of a page and sends the counts when the page is hidden, and every minute. */
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

  /** Count a load, or a retry by its reason. */
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

  /** Send the counts if the gateway accepts beacons. The type is text/plain, which needs no CORS preflight. */
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
      // Ask now: there is no time for a request when the page is closed.
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
