/** How much is kept and for how long; `margin` is how many ms before its end an entry is no longer given out. */
export interface CacheOptions {
  max: number;
  ttl: number;
  margin: number;
}

/** What is used where nothing else is said: 100 entries, 10 minutes, and nothing in its last half minute. */
export const CACHE_DEFAULTS: Readonly<CacheOptions> = { max: 100, ttl: 600_000, margin: 30_000 };

/** How well the cache does. */
export interface CacheStats {
  size: number;
  hits: number;
  misses: number;
}

/** The least recently used entries leave first; none is given out in the last `margin` ms of its life. */
export class ImageCache<T> {
  readonly #entries = new Map<string, { value: T; until: number }>();
  #hits = 0;
  #misses = 0;

  constructor(private readonly options: () => Partial<CacheOptions> | undefined = () => undefined) {}

  /** The value, or undefined when there is none that still lives. */
  get(key: string): T | undefined {
    const entry = this.#entries.get(key);
    this.#entries.delete(key);
    if (!entry || entry.until <= Date.now()) {
      this.#misses++;
      return undefined;
    }
    this.#entries.set(key, entry); // the last one in the map was used last
    this.#hits++;
    return entry.value;
  }

  /** The value, dead or alive, without counting as a use. */
  peek(key: string): T | undefined {
    return this.#entries.get(key)?.value;
  }

  /** Keep a value; `expiresAt` (Unix seconds) ends it early. */
  set(key: string, value: T, expiresAt?: number | null): void {
    const { max, ttl, margin } = { ...CACHE_DEFAULTS, ...this.options() };
    const now = Date.now();
    let until = now + ttl;
    if (expiresAt) {
      const end = expiresAt * 1000;
      // A URL is not handed out dead: if it looks so, this machine's clock is wrong, and it is good for a moment.
      until = Math.min(until, end > now ? Math.max(end - margin, now + (end - now) / 2) : now + margin);
    }
    this.#entries.delete(key);
    this.#entries.set(key, { value, until });
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= max) break;
      this.#entries.delete(oldest);
    }
  }

  /** Drop one entry. */
  invalidate(key: string): void {
    this.#entries.delete(key);
  }

  /** Drop everything. */
  clear(): void {
    this.#entries.clear();
  }

  /** Counts since the page was loaded. */
  stats(): CacheStats {
    return { size: this.#entries.size, hits: this.#hits, misses: this.#misses };
  }
}
