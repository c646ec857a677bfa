import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type Beacon, Monitor } from "../src/core/monitor.js";

const sent = vi.fn<(endpoint: string, body: string) => boolean>();
const fetched = vi.fn<typeof fetch>();

beforeEach(() => {
  vi.useFakeTimers();
  sent.mockReset();
  fetched.mockReset();
  vi.stubGlobal("navigator", { sendBeacon: sent });
  vi.stubGlobal("fetch", fetched);
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

test("one text beacon a minute contains counts only", async () => {
  const monitor = new Monitor(() => ({ endpoint: "/b" }), "https://gw");
  monitor.report({ result: "loaded", seconds: 0.2, source: "network" });
  monitor.report({ result: "recovered", seconds: 9999, source: "cache", attempts: 3 });
  monitor.report({ result: "failed", seconds: null });
  monitor.report("network");
  await vi.advanceTimersByTimeAsync(59_999);
  expect(sent).not.toHaveBeenCalled();
  await vi.advanceTimersByTimeAsync(1);
  expect(sent).toHaveBeenCalledTimes(1);
  const [endpoint, body] = sent.mock.calls[0] ?? [];
  expect(endpoint).toBe("/b");
  expect(typeof body).toBe("string"); // sendBeacon sends a string as text/plain, which asks for no preflight
  expect(JSON.parse(String(body))).toEqual({
    version: 1,
    loads: { loaded: 1, recovered: 1, failed: 1 },
    retries: { network: 1 },
    sources: { network: 1, cache: 1 },
    attempts: 5,
    seconds: { buckets: [0, 0, 1, 0, 0, 0, 0, 0, 0, 1], sum: 3600.2, count: 2 },
  } satisfies Beacon);
  await vi.advanceTimersByTimeAsync(120_000);
  expect(sent).toHaveBeenCalledTimes(1); // nothing was seen since
});

test("a gateway without beacons gets none", async () => {
  fetched.mockImplementation(async () => new Response(JSON.stringify({ features: { beacons: false } })));
  const monitor = new Monitor(() => ({}), "https://gw");
  monitor.report({ result: "failed", seconds: null });
  await vi.advanceTimersByTimeAsync(60_000);
  monitor.report({ result: "failed", seconds: null });
  await vi.advanceTimersByTimeAsync(60_000);
  expect(sent).not.toHaveBeenCalled();
  expect(fetched).toHaveBeenCalledTimes(1);
});

test("the largest paint and the sizes of pictures go only to gateways that accept them", async () => {
  for (const paints of [true, false]) {
    sent.mockReset();
    fetched.mockImplementation(async () => new Response(JSON.stringify({ features: { beacons: true, paints } })));
    const timing = { decodedBodySize: 2500, encodedBodySize: 2000, transferSize: 0 };
    vi.spyOn(performance, "getEntriesByName").mockReturnValue([timing as PerformanceResourceTiming]);
    let paint: { seconds: number; source: "cache" } | undefined = { seconds: 1.2, source: "cache" };
    const take = () => {
      const found = paint;
      paint = undefined;
      return found;
    };
    const monitor = new Monitor(() => ({}), "https://gw", Math.random, take);
    for (let page = 0; page < 2; page++) {
      monitor.report({ result: "loaded", seconds: 0.2, address: "https://gw/i/a" });
      await vi.advanceTimersByTimeAsync(60_000);
    }
    const [first, second] = sent.mock.calls.map(([, body]) => JSON.parse(body) as Beacon);
    const cached = (bucket: number, sum: number) => ({
      cache: { buckets: Array.from({ length: 10 }, (_, index) => Number(index === bucket)), sum, count: 1 },
    });
    expect([first?.paints, first?.sizes]).toEqual(paints ? [cached(3, 1.2), cached(1, 2000)] : [undefined, undefined]);
    expect([second?.paints, second?.sizes]).toEqual([undefined, paints ? cached(1, 2000) : undefined]);
  }
});

test("a page outside the sample reports nothing", async () => {
  const monitor = new Monitor(
    () => ({ endpoint: "/b", sample: 0.1 }),
    "https://gw",
    () => 0.1,
  );
  monitor.report({ result: "failed", seconds: null });
  await monitor.flush();
  expect(sent).not.toHaveBeenCalled();
});

test("a monitor without counts has no timer and no listener", async () => {
  const page = new EventTarget() as EventTarget & { hidden: boolean };
  const added = vi.spyOn(page, "addEventListener");
  const removed = vi.spyOn(page, "removeEventListener");
  vi.stubGlobal("document", page);
  page.hidden = true;
  const monitor = new Monitor(() => ({ endpoint: "/b" }), "https://gw");
  monitor.report("network");
  monitor.report("network");
  page.dispatchEvent(new Event("visibilitychange"));
  await vi.advanceTimersByTimeAsync(0);
  expect(sent).toHaveBeenCalledTimes(1);
  expect(vi.getTimerCount()).toBe(0);
  expect(added).toHaveBeenCalledTimes(1);
  expect(removed.mock.calls).toEqual(added.mock.calls);
});

test("an error of the gateway is no answer about beacons", async () => {
  fetched.mockImplementationOnce(async () => new Response("{}", { status: 503 }));
  fetched.mockImplementation(async () => new Response(JSON.stringify({ features: { beacons: true } })));
  const monitor = new Monitor(() => ({}), "https://gw");
  monitor.report("network");
  await vi.advanceTimersByTimeAsync(60_000);
  expect(sent).toHaveBeenCalledTimes(1);
});
