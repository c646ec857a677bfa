/** `wait`: how long ids are collected, in ms. `size`: how many ids go into one call. */
export interface BatchOptions {
  wait: number;
  size: number;
}

/** One frame, and the most ids that the gateway accepts. */
export const BATCH_DEFAULTS: Readonly<BatchOptions> = { wait: 16, size: 200 };

interface Waiting<T> {
  rank: number;
  promise: Promise<T>;
  resolve(value: T): void;
  reject(error: unknown): void;
}

/** Combines requests for single ids into batch calls. Requests for the same id share one answer. */
export class Batcher<T> {
  #gathered = new Map<string, Waiting<T>>();
  readonly #asked = new Map<string, Promise<T>>();

  /** `send` returns a value or an Error for each id. If it rejects, all ids of the call are rejected. */
  constructor(
    private readonly send: (ids: string[]) => Promise<ReadonlyMap<string, T | Error>>,
    private readonly options: () => Partial<BatchOptions> | undefined = () => undefined,
  ) {}

  /** Return the answer for one id. Ids with the lowest `rank` go into the first call. */
  load(id: string, rank = 0): Promise<T> {
    const gathered = this.#gathered.get(id);
    if (gathered) {
      gathered.rank = Math.min(gathered.rank, rank);
      return gathered.promise;
    }
    const asked = this.#asked.get(id);
    if (asked) return asked;
    if (!this.#gathered.size) setTimeout(() => this.#flush(), this.options()?.wait ?? BATCH_DEFAULTS.wait);
    const { promise, resolve, reject } = withResolvers<T>();
    this.#gathered.set(id, { rank, promise, resolve, reject });
    return promise;
  }

  #flush(): void {
    const size = Math.min(this.options()?.size ?? BATCH_DEFAULTS.size, BATCH_DEFAULTS.size);
    const all = [...this.#gathered].sort(([, a], [, b]) => a.rank - b.rank);
    this.#gathered = new Map();
    for (let start = 0; start < all.length; start += size) void this.#call(all.slice(start, start + size));
  }

  async #call(part: [string, Waiting<T>][]): Promise<void> {
    for (const [id, { promise }] of part) this.#asked.set(id, promise);
    try {
      const answers = await this.send(part.map(([id]) => id));
      for (const [id, { resolve, reject }] of part) {
        const answer = answers.get(id);
        if (answer === undefined || answer instanceof Error) reject(answer ?? new Error("not answered"));
        else resolve(answer);
      }
    } catch (error) {
      for (const [, { reject }] of part) reject(error);
    } finally {
      for (const [id] of part) this.#asked.delete(id);
    }
  }
}

// Promise.withResolvers is missing in browsers that are still in use.
function withResolvers<T>() {
  let resolve!: (value: T) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}
