import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createCache } from "../src/core/cache.js";

const NOW = Date.parse("2026-01-01T00:00:00Z");
const seconds = (ms: number) => ms / 1000;

beforeEach(() => void vi.useFakeTimers({ now: NOW }));
afterEach(() => void vi.useRealTimers());

test("an entry lives for ten minutes", () => {
  const cache = createCache<string>();
  cache.set("a", "one");
  vi.advanceTimersByTime(599_999);
  expect(cache.get("a")).toBe("one");
  vi.advanceTimersByTime(1);
  expect(cache.get("a")).toBeUndefined();
});

test("a URL is not returned in the last 30 seconds of its life", () => {
  const cache = createCache<string>();
  cache.set("a", "url", seconds(NOW) + 120);
  vi.advanceTimersByTime(89_999);
  expect(cache.get("a")).toBe("url");
  vi.advanceTimersByTime(1);
  expect(cache.get("a")).toBeUndefined();
});

test("a short-lived URL is returned for half of its life", () => {
  const cache = createCache<string>();
  cache.set("a", "url", seconds(NOW) + 20);
  vi.advanceTimersByTime(9_999);
  expect(cache.get("a")).toBe("url");
  vi.advanceTimersByTime(1);
  expect(cache.get("a")).toBeUndefined();
});

test("a URL is cached for a moment if the local clock is ahead", () => {
  const cache = createCache<string>();
  cache.set("a", "url", seconds(NOW) - 5000);
  expect(cache.get("a")).toBe("url");
  vi.advanceTimersByTime(30_000);
  expect(cache.get("a")).toBeUndefined();
});

test("the least recently used entry is evicted first", () => {
  const cache = createCache<number>(() => ({ max: 2 }));
  cache.set("a", 1);
  cache.set("b", 2);
  cache.get("a");
  cache.set("c", 3);
  expect([cache.get("a"), cache.get("b"), cache.get("c")]).toEqual([1, undefined, 3]);
});

test("hits and misses are counted, and entries can be removed", () => {
  const cache = createCache<number>();
  cache.set("a", 1);
  cache.set("b", 2);
  cache.get("a");
  cache.get("x");
  cache.invalidate("a");
  expect(cache.stats()).toEqual({ size: 1, hits: 1, misses: 1 });
  cache.clear();
  expect(cache.stats().size).toBe(0);
});
