import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { backoff, Retrier } from "../src/core/retry.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test.each([
  [1, 1000],
  [2, 2000],
  [3, 4000],
  [6, 30_000],
  [5000, 30_000],
])("retry %i waits up to %i ms", (attempt, most) => {
  const options = { max: 9, delay: 1000, maxDelay: 30_000 };
  expect(backoff(attempt, { ...options, jitter: false })).toBe(most);
  expect(backoff(attempt, { ...options, random: () => 0.25 })).toBe(most / 4);
});

test("a task is run until it succeeds", async () => {
  const retrier = new Retrier({ delay: 1000, jitter: false });
  const task = vi.fn<() => Promise<string>>();
  task.mockRejectedValueOnce(new Error("once")).mockRejectedValueOnce(new Error("twice")).mockResolvedValue("done");
  const result = retrier.run(task);
  await vi.advanceTimersByTimeAsync(999);
  expect(task).toHaveBeenCalledTimes(1);
  await vi.advanceTimersByTimeAsync(1 + 2000);
  expect(await result).toBe("done");
  expect(retrier.attempt).toBe(3);
});

test("the run rejects with the last error when retries are used up", async () => {
  const retrier = new Retrier({ max: 1 });
  const result = expect(retrier.run(() => Promise.reject(new Error("always")))).rejects.toThrow("always");
  await vi.runAllTimersAsync();
  await result;
  expect(retrier.attempt).toBe(2);
});

test("mayRetry ends the run", async () => {
  const task = vi.fn(() => Promise.reject(new Error("final")));
  await expect(new Retrier().run(task, () => false)).rejects.toThrow("final");
  expect(task).toHaveBeenCalledTimes(1);
});

test("cancel() ends the run at once and leaves no timer", async () => {
  const retrier = new Retrier();
  const task = vi.fn(() => Promise.reject(new Error("no")));
  const result = expect(retrier.run(task)).rejects.toMatchObject({ name: "AbortError" });
  await vi.advanceTimersByTimeAsync(0);
  retrier.cancel();
  await result;
  expect(vi.getTimerCount()).toBe(0);
  expect(task).toHaveBeenCalledTimes(1);
});

test("a second run cancels the first one", async () => {
  const retrier = new Retrier();
  const first = expect(retrier.run(() => Promise.reject(new Error("no")))).rejects.toMatchObject({
    name: "AbortError",
  });
  await vi.advanceTimersByTimeAsync(0);
  expect(await retrier.run(() => Promise.resolve(2))).toBe(2);
  await first;
  retrier.reset();
  expect(retrier.attempt).toBe(0);
});

test("a cancelled run rejects even if its task ignores the signal", async () => {
  const retrier = new Retrier();
  let finish: (value: string) => void = () => undefined;
  const run = retrier.run(() => new Promise<string>((resolve) => (finish = resolve)));
  retrier.cancel();
  finish("late");
  await expect(run).rejects.toMatchObject({ name: "AbortError" });
});
