/**
 * Wrap callbacks in a promise that rejects with the signal's reason on abort. `start` gets `resolve`, and
 * returns the function that cleans up.
 */
export function abortable<T>(
  signal: AbortSignal | undefined,
  start: (resolve: (value: T) => void) => () => unknown,
): Promise<T> {
  let cleanUp: (() => unknown) | undefined;
  let stop: () => void;
  const finish = () => {
    signal?.removeEventListener("abort", stop);
    cleanUp?.();
    cleanUp = undefined;
  };
  return new Promise<T>((resolve, reject) => {
    signal?.throwIfAborted();
    stop = () => {
      finish(); // synchronously: the caller may start the same load again right after abort()
      reject(signal?.reason);
    };
    signal?.addEventListener("abort", stop);
    cleanUp = start(resolve);
  }).finally(finish);
}

/** Wait `ms` milliseconds; rejects with the signal's reason when it is aborted first. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return abortable(signal, (resolve) => {
    const timer = setTimeout(resolve, ms);
    return () => clearTimeout(timer);
  });
}
