/** `wait`: how long ids are collected, in ms. `size`: how many ids go into one call; 0 is the default. */
export interface BatchOptions {
  wait: number;
  size: number;
}

/** One frame, and the most ids that the gateway accepts. */
export const BATCH_DEFAULTS: Readonly<BatchOptions> = { wait: 16, size: 200 };

interface Waiting<T> {
  id: string;
  settle(answer: Promise<T>): void;
}

/**
 * Make a function that returns the answer for one id, and combines requests into batch calls. Requests for the same id
 * share one answer.
 *
 * `send` returns a value or an Error for each id. If it rejects, all ids of the call are rejected.
 */
export function createBatcher<T>(
  send: (ids: string[]) => Promise<ReadonlyMap<string, T | Error>>,
  options: () => Partial<BatchOptions> | undefined = () => undefined,
): (id: string) => Promise<T> {
  const answers = new Map<string, Promise<T>>();
  let waiting: Waiting<T>[] = [];

  function flush(): void {
    const size = Math.min(options()?.size || BATCH_DEFAULTS.size, BATCH_DEFAULTS.size);
    const all = waiting;
    waiting = [];
    while (all.length) {
      const part = all.splice(0, size);
      const sent = send(part.map(({ id }) => id));
      for (const { id, settle } of part) settle(sent.then((answers) => answered(answers.get(id))));
    }
  }

  return (id) => {
    let answer = answers.get(id);
    if (!answer) {
      answer = new Promise<T>((settle) => {
        if (!waiting.length) setTimeout(flush, options()?.wait ?? BATCH_DEFAULTS.wait);
        waiting.push({ id, settle });
      }).finally(() => answers.delete(id));
      answers.set(id, answer);
    }
    return answer;
  };
}

function answered<T>(answer: T | Error | undefined): T {
  if (answer && !(answer instanceof Error)) return answer;
  throw answer ?? new Error("not answered");
}
