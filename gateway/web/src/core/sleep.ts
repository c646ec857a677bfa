/**
 * Wrap callbacks in a promise that rejects with the signal's reason on abort. `start` gets `resolve`, which it does not call
 * by itself but later, and
 * returns the function that cleans up.
 */
export function abortable<T>(
  signal: AbortSignal,
  start: (resolve: (value: T | Promise<T>) => void) => () => unknown,
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    signal.throwIfAborted();
    const stop = () => {
      signal.removeEventListener("abort", stop);
      cleanUp(); // synchronously: the caller may start the same load again right after abort()
      reject(signal.reason);
    };
    signal.addEventListener("abort", stop);
    const cleanUp = start((value) => {
      resolve(value);
      stop();
    });
  });
}

/** Wait `ms` milliseconds; rejects with the signal's reason when it is aborted first. */
export function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return abortable(signal, (resolve) => {
    const timer = setTimeout(resolve, ms);
    return () => clearTimeout(timer);
  });
}
