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

/** Body of a beacon. It has counts only: no ids, no addresses. `buckets[i]` counts loads of at most `BOUNDS[i]` seconds. */
export interface Beacon {
  version: 1;
  loads: Partial<Record<LoadResult, number>>;
  retries: Partial<Record<FailureKind, number>>;
  sources: Partial<Record<BytesSource, number>>;
  attempts: number;
  seconds: { buckets: number[]; sum: number; count: number };
}

/** Upper bounds of the histogram's buckets in seconds; one more bucket has no upper bound. */
export const BOUNDS: readonly number[] = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

const ENDPOINT = "/api/v1/monitoring/beacons";
const EVERY = 60_000;
// Limits of the gateway for one beacon.
const MAX_LOADS = 10_000;
const MAX_SECONDS = 3600;

/** Counts loads of a page and sends the counts when the page is hidden, and every minute. */
export class Monitor {
  #beacon: Beacon | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #accepted: Promise<boolean> | undefined;
  readonly #chosen: boolean;
  readonly #visibilityChanged = () => void (document.hidden && this.flush());

  constructor(
    private readonly options: () => MonitorOptions,
    private readonly base: string,
    random: () => number = Math.random,
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
      const took = Math.min(seen.seconds, MAX_SECONDS);
      const index = BOUNDS.findIndex((bound) => took <= bound);
      const bucket = index < 0 ? BOUNDS.length : index;
      seconds.buckets[bucket] = (seconds.buckets[bucket] ?? 0) + 1;
      seconds.sum += took;
      seconds.count++;
      count(sources, seen.source ?? sourceOf(seen.address));
    }
    if (Object.values(loads).reduce((sum, some) => sum + some, 0) >= MAX_LOADS) void this.flush();
  }

  /** Send the counts if the gateway accepts beacons. The type is text/plain, which needs no CORS preflight. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    globalThis.document?.removeEventListener("visibilitychange", this.#visibilityChanged);
    const beacon = this.#beacon;
    this.#beacon = undefined;
    if (!beacon || !(await this.#isAccepted())) return;
    navigator.sendBeacon(this.options().endpoint ?? this.base + ENDPOINT, JSON.stringify(beacon));
  }

  /** Begin a beacon, which `flush()` ends: without one there is neither a timer nor a listener. */
  #open(): Beacon {
    this.#timer = setTimeout(() => this.flush(), this.options().interval ?? EVERY);
    globalThis.document?.addEventListener("visibilitychange", this.#visibilityChanged);
    void this.#isAccepted(); // ask now: there is no time for a request when the page is closed
    return emptyBeacon();
  }

  #isAccepted(): Promise<boolean> {
    this.#accepted ??= this.options().endpoint
      ? Promise.resolve(true)
      : acceptsBeacons(this.base).catch(() => {
          this.#accepted = undefined; // not answered: ask again next time
          return false;
        });
    return this.#accepted;
  }
}

/** Make the monitor of a page, which follows the configuration. */
export function monitorOf(config: SmartImageConfig, base: string): Monitor {
  return new Monitor(() => (typeof config.monitor === "object" ? config.monitor : {}), base);
}

function emptyBeacon(): Beacon {
  return {
    version: 1,
    loads: {},
    retries: {},
    sources: {},
    attempts: 0,
    seconds: { buckets: new Array<number>(BOUNDS.length + 1).fill(0), sum: 0, count: 0 },
  };
}

function count<K extends string>(counts: Partial<Record<K, number>>, key: K): void {
  counts[key] = (counts[key] ?? 0) + 1;
}

/** Return where the bytes of `address` came from, if the browser exposes it. */
function sourceOf(address = ""): BytesSource {
  const entries = globalThis.performance?.getEntriesByName(address) as PerformanceResourceTiming[];
  const entry = entries.at(-1);
  if (!entry?.decodedBodySize) return "unknown";
  return entry.transferSize ? "network" : "cache";
}

async function acceptsBeacons(base: string): Promise<boolean> {
  const answer = await fetch(`${base}/static/config.json`);
  if (answer.status >= 500) throw new Error(`config.json: ${answer.status}`);
  const { features } = (await answer.json()) as { features?: { beacons?: boolean } };
  return !!features?.beacons;
}
