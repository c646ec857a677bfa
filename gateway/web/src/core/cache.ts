/** `max` entries, each for `ttl` ms; a URL is not returned in the last `margin` ms of its life. */
export interface CacheOptions {
  max: number;
  ttl: number;
  margin: number;
}

/** Defaults: 100 entries, 10 minutes, 30 seconds. */
export const CACHE_DEFAULTS: Readonly<CacheOptions> = { max: 100, ttl: 600_000, margin: 30_000 };

/** Counters of a cache. */
export interface CacheStats {
  size: number;
  hits: number;
  misses: number;
}

/** A cache with least-recently-used eviction, whose entries expire before their URLs do. */
export class ImageCache<T> {
  readonly #entries = new Map<string, { value: T; until: number }>();
  #hits = 0;
  #misses = 0;

  constructor(private readonly options: () => Partial<CacheOptions> | undefined = () => undefined) {}

  /** Return the value, or undefined if there is none or it has expired. */
  get(key: string): T | undefined {
    const entry = this.#entries.get(key);
    this.#entries.delete(key);
    if (!entry || entry.until <= Date.now()) {
      this.#misses++;
      return undefined;
    }
    this.#entries.set(key, entry); // a Map keeps insertion order: the last entry is the most recently used
    this.#hits++;
    return entry.value;
  }

  /** Return the value even if it has expired, without counting the lookup. */
  peek(key: string): T | undefined {
    return this.#entries.get(key)?.value;
  }

  /** Store a value. It expires early if `expiresAt` (Unix seconds) comes before the TTL ends. */
  set(key: string, value: T, expiresAt?: number | null): void {
    const { max, ttl, margin } = { ...CACHE_DEFAULTS, ...this.options() };
    const now = Date.now();
    let until = now + ttl;
    if (expiresAt) {
      const end = expiresAt * 1000;
      // The gateway never returns an expired URL: if it looks expired, the clock of this machine is wrong.
      until = Math.min(until, end > now ? Math.max(end - margin, now + (end - now) / 2) : now + margin);
    }
    this.#entries.delete(key);
    this.#entries.set(key, { value, until });
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= max) break;
      this.#entries.delete(oldest);
    }
  }

  /** Remove one entry. */
  invalidate(key: string): void {
    this.#entries.delete(key);
  }

  /** Remove all entries. */
  clear(): void {
    this.#entries.clear();
  }

  /** Return the counters since the page was loaded. */
  stats(): CacheStats {
    return { size: this.#entries.size, hits: this.#hits, misses: this.#misses };
  }
}
