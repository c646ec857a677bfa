import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createBatcher } from "../src/core/batch.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const echo = () =>
  vi.fn(async (ids: string[]) => new Map<string, string | Error>(ids.map((id) => [id, `url of ${id}`])));

test("ids requested within a frame go into one call, each once", async () => {
  const send = echo();
  const load = createBatcher(send);
  const answers = Promise.all([load("a"), load("b"), load("a")]);
  await vi.advanceTimersByTimeAsync(15);
  expect(send).not.toHaveBeenCalled();
  await vi.advanceTimersByTimeAsync(1);
  expect(await answers).toEqual(["url of a", "url of b", "url of a"]);
  expect(send.mock.calls).toEqual([[["a", "b"]]]);
});

test("a request for a pending id shares its answer", async () => {
  let answer: (value: Map<string, string>) => void = () => undefined;
  const send = vi.fn(() => new Promise<Map<string, string>>((resolve) => (answer = resolve)));
  const load = createBatcher<string>(send);
  const first = load("a");
  await vi.advanceTimersByTimeAsync(16);
  const second = load("a");
  await vi.advanceTimersByTimeAsync(16);
  answer(new Map([["a", "one"]]));
  expect(await Promise.all([first, second])).toEqual(["one", "one"]);
  expect(send).toHaveBeenCalledTimes(1);
});

test("a call has at most 200 ids", async () => {
  const send = echo();
  const load = createBatcher(send);
  const answers = Promise.all(Array.from({ length: 250 }, (_, index) => load(`i${index}`)));
  await vi.advanceTimersByTimeAsync(16);
  await answers;
  expect(send.mock.calls.map(([ids]) => ids.length)).toEqual([200, 50]);
});

test("a size of 0 is the default", async () => {
  const send = echo();
  const load = createBatcher(send, () => ({ size: 0 }));
  const answers = Promise.all([load("a"), load("b")]);
  await vi.advanceTimersByTimeAsync(16);
  await answers;
  expect(send).toHaveBeenCalledTimes(1);
});

test("an id fails alone or with its call, and can be requested again", async () => {
  const send = vi.fn<(ids: string[]) => Promise<Map<string, string | Error>>>();
  send.mockResolvedValueOnce(
    new Map<string, string | Error>([
      ["a", "one"],
      ["b", new Error("no b")],
    ]),
  );
  send.mockRejectedValueOnce(new Error("away"));
  const load = createBatcher<string>(send);
  const outcome = (id: string) => load(id).catch((error: Error) => error.message);
  let answers = Promise.all([outcome("a"), outcome("b"), outcome("c")]);
  await vi.advanceTimersByTimeAsync(16);
  expect(await answers).toEqual(["one", "no b", "not answered"]);
  answers = Promise.all([outcome("a"), outcome("b"), outcome("c")]);
  await vi.advanceTimersByTimeAsync(16);
  expect(await answers).toEqual(["away", "away", "away"]);
});
