/** `wait`: how long ids are collected, in ms. `size`: how many ids go into one call; 0 is the default. */
export interface BatchOptions {
  wait: number;
  size: number;
}

/** One frame, and the most ids that the gateway accepts. */
export const BATCH_DEFAULTS: Readonly<BatchOptions> = { wait: 16, size: 200 };

/** Distance of an image from the viewport in px. Asked for only if not all ids fit into one call. */
export type Rank = () => number;

interface Waiting<T> {
  id: string;
  rank: Rank;
  fulfil(value: T): void;
  refuse(error: unknown): void;
}

/**
 * Make a function that returns the answer for one id, and combines requests into batch calls. Requests for the same id
 * share one answer. If not all ids fit into one call, those with the lowest `rank` go first.
 *
 * `send` returns a value or an Error for each id. If it rejects, all ids of the call are rejected.
 */
export function createBatcher<T>(
  send: (ids: string[]) => Promise<ReadonlyMap<string, T | Error>>,
  options: () => Partial<BatchOptions> | undefined = () => undefined,
): (id: string, rank?: Rank) => Promise<T> {
  const answers = new Map<string, Promise<T>>();
  let waiting: Waiting<T>[] = [];

  function flush(): void {
    const size = Math.min(options()?.size || BATCH_DEFAULTS.size, BATCH_DEFAULTS.size);
    let all = waiting;
    waiting = [];
    if (all.length > size) {
      const ranked = all.map((one) => [one.rank(), one] as const);
      all = ranked.sort(([a], [b]) => a - b).map(([, one]) => one);
    }
    while (all.length) void call(all.splice(0, size));
  }

  async function call(part: Waiting<T>[]): Promise<void> {
    try {
      const answers = await send(part.map(({ id }) => id));
      for (const { id, fulfil, refuse } of part) {
        const answer = answers.get(id) ?? new Error("not answered");
        if (answer instanceof Error) refuse(answer);
        else fulfil(answer);
      }
    } catch (error) {
      for (const { refuse } of part) refuse(error);
    }
  }

  return (id, rank = () => 0) => {
    let answer = answers.get(id);
    if (!answer) {
      answer = new Promise<T>((fulfil, refuse) => {
        if (!waiting.length) setTimeout(flush, options()?.wait ?? BATCH_DEFAULTS.wait);
        waiting.push({ id, rank, fulfil, refuse });
      }).finally(() => answers.delete(id));
      answers.set(id, answer);
    }
    return answer;
  };
}
