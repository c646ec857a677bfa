import { setMaxListeners } from "node:events";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createGate, type Gate, type Probe } from "../src/core/gate.js";

beforeEach(() => void vi.useFakeTimers({ now: 0 }));
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

const forever = new AbortController().signal;
setMaxListeners(0, forever); // two hundred pictures have a signal each

function closed(random = () => 0.5): Gate {
  vi.spyOn(Math, "random").mockImplementation(random);
  const gate = createGate();
  for (let failures = 0; failures < 3; failures++) gate.failed(`picture ${failures}`);
  return gate;
}

test("failures of three images in a row close the gate; a success resets the count", () => {
  const gate = createGate();
  gate.failed("a");
  gate.failed("b");
  gate.succeeded();
  gate.failed("a");
  gate.failed("b");
  expect(gate.closed).toBe(false);
  gate.failed("c");
  expect(gate.closed).toBe(true);
});

test("one broken image never closes the gate", () => {
  const gate = createGate();
  for (let failures = 0; failures < 10; failures++) gate.failed("a");
  expect(gate.closed).toBe(false);
});

test("images without an id count as one", () => {
  const gate = createGate();
  for (let failures = 0; failures < 10; failures++) gate.failed(null);
  gate.failed("a");
  expect(gate.closed).toBe(false);
  gate.failed("b");
  expect(gate.closed).toBe(true);
});

test("an open gate does not delay", async () => {
  await createGate().enter(() => Promise.resolve(false), forever);
  expect(vi.getTimerCount()).toBe(0);
});

test("of two hundred waiting requests one probes at a time, in turn", async () => {
  const gate = closed();
  const askers: number[] = [];
  let underWay = 0;
  let most = 0;
  const probe = (asker: number): Probe => {
    return async () => {
      askers.push(asker);
      most = Math.max(most, ++underWay);
      await new Promise((resolve) => setTimeout(resolve, 100));
      underWay--;
      return false;
    };
  };
  for (let asker = 0; asker < 200; asker++) void gate.enter(probe(asker), forever);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(most).toBe(1);
  expect(askers.slice(0, 4)).toEqual([0, 1, 2, 3]);
  expect(askers.length).toBeLessThan(30);
});

test("waiting requests start spread over two seconds", async () => {
  let turn = 0;
  const gate = closed(() => (turn++ % 100) / 100);
  let answers = false;
  const went: number[] = [];
  for (let asker = 0; asker < 200; asker++) {
    void gate.enter(() => Promise.resolve(answers), forever).then(() => went.push(Date.now()));
  }
  await vi.advanceTimersByTimeAsync(10_000);
  expect(went).toEqual([]);
  answers = true;
  await vi.advanceTimersByTimeAsync(20_000);
  expect(went.length).toBe(200);
  const first = Math.min(...went);
  expect(Math.max(...went) - first).toBeLessThan(2000);
  const perTenth = new Map<number, number>();
  for (const at of went) perTenth.set(Math.floor(at / 100), (perTenth.get(Math.floor(at / 100)) ?? 0) + 1);
  expect(Math.max(...perTenth.values())).toBeLessThan(30);
});

test("no probe is sent before Retry-After has passed", async () => {
  vi.spyOn(Math, "random").mockImplementation(() => 0);
  const gate = createGate();
  for (let failures = 0; failures < 3; failures++) gate.failed(`picture ${failures}`, 10_000);
  const probe = vi.fn(() => Promise.resolve(true));
  void gate.enter(probe, forever);
  await vi.advanceTimersByTimeAsync(9_999);
  expect(probe).not.toHaveBeenCalled();
  await vi.advanceTimersByTimeAsync(1);
  expect(probe).toHaveBeenCalledTimes(1);
});

test("wake() probes at once", async () => {
  const gate = closed(() => 0.99);
  const probe = vi.fn(() => Promise.resolve(true));
  const entered = gate.enter(probe, forever);
  gate.wake();
  await vi.advanceTimersByTimeAsync(2000);
  await entered;
  expect(probe).toHaveBeenCalledTimes(1);
});

test("an image that is well gets in soon, though twenty broken ones wait and close the gate again", async () => {
  vi.spyOn(Math, "random").mockImplementation(() => 0.5);
  const gate = createGate();
  const fail = async (name: string) => {
    for (;;) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      gate.failed(name);
      await gate.enter(() => Promise.resolve(false), forever);
    }
  };
  for (let broken = 0; broken < 20; broken++) void fail(`picture ${broken}`);
  await vi.advanceTimersByTimeAsync(60_000);
  const entered = vi.fn();
  void gate.enter(() => Promise.resolve(true), forever).then(entered);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(entered).toHaveBeenCalledTimes(1);
});

test("an aborted request is not probed for, and a gate that closes again holds those not started yet", async () => {
  const gate = closed();
  const leaver = new AbortController();
  const probe = vi.fn(() => Promise.resolve(true));
  const left = expect(gate.enter(probe, leaver.signal)).rejects.toMatchObject({ name: "AbortError" });
  leaver.abort();
  await left;
  await vi.advanceTimersByTimeAsync(60_000);
  expect(probe).not.toHaveBeenCalled();

  void gate.enter(() => Promise.resolve(true), forever);
  let went = false;
  const stays = gate
    .enter(() => Promise.resolve(true), forever)
    .then(() => {
      went = true;
    });
  while (gate.closed) await vi.advanceTimersByTimeAsync(10);
  for (let failures = 0; failures < 3; failures++) gate.failed(`picture ${failures}`, 5000);
  await vi.advanceTimersByTimeAsync(2000);
  expect(went).toBe(false);
  await vi.advanceTimersByTimeAsync(10_000);
  await stays;
});

test("a failed load waits for a probe to succeed, though the gate is open, and a broken one is tried ever more rarely", async () => {
  vi.spyOn(Math, "random").mockImplementation(() => 1);
  const gate = createGate();
  let answers = false;
  const probes: number[] = [];
  const probe = async () => {
    probes.push(Date.now());
    return answers;
  };
  const again = vi.fn();
  gate.failed("a");
  void gate.wait(probe, forever).then(again);
  await vi.advanceTimersByTimeAsync(100_000);
  expect(probes.slice(0, 6)).toEqual([1000, 3000, 7000, 12_000, 17_000, 22_000]); // and every five seconds
  expect(probes.length).toBe(21);
  gate.succeeded(); // of another image
  await vi.advanceTimersByTimeAsync(20_000);
  expect(probes.length).toBe(25);
  answers = true;
  await vi.advanceTimersByTimeAsync(5000);
  expect(again).toHaveBeenCalledTimes(1);
  expect(gate.closed).toBe(false);

  // It fails again: its probe tells nothing, and is not repeated at once.
  gate.failed("a");
  void gate.wait(probe, forever).then(again);
  await vi.advanceTimersByTimeAsync(29_000);
  expect(again).toHaveBeenCalledTimes(1);
  await vi.advanceTimersByTimeAsync(3000);
  expect(again).toHaveBeenCalledTimes(2);

  // It is well: the next failure is another outage.
  gate.succeeded();
  void gate.wait(probe, forever).then(again);
  await vi.advanceTimersByTimeAsync(3000);
  expect(again).toHaveBeenCalledTimes(3);
  expect(vi.getTimerCount()).toBe(0);
});

test("wake() lets failed loads be tried again without a probe while the gate is open", async () => {
  const gate = createGate();
  const probe = vi.fn(() => Promise.resolve(false));
  const again = vi.fn();
  void gate.wait(probe, forever).then(again);
  gate.wake();
  await vi.advanceTimersByTimeAsync(2000);
  expect(again).toHaveBeenCalledTimes(1);
  expect(probe).not.toHaveBeenCalled();
});

test("wake() opens a closed gate if no request waits", async () => {
  const gate = closed();
  gate.wake();
  expect(gate.closed).toBe(false);
});

test("rest() ends after its time, or with wake(), but by no probe and no success, and waits for a hidden page", async () => {
  vi.spyOn(Math, "random").mockImplementation(() => 0);
  const document = { hidden: false };
  vi.stubGlobal("document", document);
  const gate = createGate();
  const ended: string[] = [];
  const rest = (name: string, ms: number) => void gate.rest(ms, forever).then(() => ended.push(name));
  rest("short", 1000);
  rest("long", 60_000);
  gate.failed("a");
  void gate.wait(() => Promise.resolve(true), forever);
  gate.succeeded();
  await vi.advanceTimersByTimeAsync(1001);
  expect(ended).toEqual(["short"]);
  document.hidden = true;
  await vi.advanceTimersByTimeAsync(100_000);
  expect(ended).toEqual(["short"]);
  document.hidden = false;
  gate.wake();
  await vi.advanceTimersByTimeAsync(1);
  expect(ended).toEqual(["short", "long"]);
  const gone = new AbortController();
  const left = expect(gate.rest(1000, gone.signal)).rejects.toMatchObject({ name: "AbortError" });
  gone.abort();
  await left;
  expect(vi.getTimerCount()).toBe(0);
  vi.unstubAllGlobals();
});
