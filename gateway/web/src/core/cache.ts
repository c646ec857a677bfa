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
export interface ImageCache<T> {
  /** Return the value, or undefined if there is none or it has expired. */
  get(key: string): T | undefined;
  /** Return the value even if it has expired, without counting the lookup. */
  peek(key: string): T | undefined;
  /** Store a value. It expires early if `expiresAt` (Unix seconds) comes before the TTL ends. */
  set(key: string, value: T, expiresAt?: number | null): void;
  /** Remove one entry. */
  invalidate(key: string): void;
  /** Remove all entries. */
  clear(): void;
  /** Return the counters since the page was loaded. */
  stats(): CacheStats;
}

/** Make an empty cache. */
export function createCache<T>(options: () => Partial<CacheOptions> | undefined = () => undefined): ImageCache<T> {
  const entries = new Map<string, { value: T; until: number }>();
  let hits = 0;
  let misses = 0;
  return {
    get(key) {
      const entry = entries.get(key);
      entries.delete(key);
      if (!entry || entry.until <= Date.now()) {
        misses++;
        return undefined;
      }
      entries.set(key, entry); // a Map keeps insertion order: the last entry is the most recently used
      hits++;
      return entry.value;
    },
    peek: (key) => entries.get(key)?.value,
    set(key, value, expiresAt) {
      const { max, ttl, margin } = { ...CACHE_DEFAULTS, ...options() };
      const now = Date.now();
      // The gateway never returns an expired URL: if it looks expired, the clock of this machine is wrong.
      const life = expiresAt ? expiresAt * 1000 - now : Infinity;
      const usable = life > 0 ? Math.max(life - margin, life / 2) : margin;
      entries.delete(key);
      entries.set(key, { value, until: now + Math.min(ttl, usable) });
      for (const oldest of entries.keys()) {
        if (entries.size <= max) break;
        entries.delete(oldest);
      }
    },
    invalidate: (key) => void entries.delete(key),
    clear: () => entries.clear(),
    stats: () => ({ size: entries.size, hits, misses }),
  };
}
