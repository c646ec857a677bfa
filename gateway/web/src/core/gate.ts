import { backoff } from "./retry.js";
import { abortable, sleep } from "./sleep.js";

/** Asks whether the gateway answers. Never rejects. */
export type Probe = () => Promise<boolean>;

const FAILURES = 3;
const SPREAD = 2000;
const PROBE_BACKOFF = { max: Infinity, delay: 1000, maxDelay: 15_000 };

/**
 * A circuit breaker for the requests of one page to one gateway.
 *
 * It closes after failures of three different images without a success in between. While it is closed, one probe at a
 * time is sent and all other requests wait. After a successful probe the waiting requests start at random times within
 * two seconds.
 */
export class Gate {
  readonly #failing = new Set<string>();
  #probes = 0;
  #closed = false;
  #notBefore = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #probing = false;
  readonly #waiting = new Map<() => void, Probe>();
  readonly #listeners = new Set<() => void>();

  constructor(private readonly random: () => number = Math.random) {}

  /** Whether requests have to wait. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Wait while the gate is closed. `probe` may be called meanwhile. Rejects when the signal is aborted. */
  async enter(probe: Probe, signal: AbortSignal): Promise<void> {
    while (this.#closed) {
      await abortable<void>(signal, (go) => {
        this.#waiting.set(go, probe);
        this.#schedule();
        return () => this.#waiting.delete(go);
      });
      await sleep(this.random() * SPREAD, signal);
    }
  }

  /** Record an answer of the gateway: open the gate. */
  succeeded(): void {
    this.#failing.clear();
    this.#probes = 0;
    if (!this.#closed) return;
    this.#closed = false;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const go of this.#waiting.keys()) go();
    this.#waiting.clear();
    for (const listener of [...this.#listeners]) listener();
  }

  /** Record a failure of the image `what`. No probe is sent for `retryAfter` ms. One broken image never closes the gate. */
  failed(what: string, retryAfter: number | null = null): void {
    this.#notBefore = Math.max(this.#notBefore, Date.now() + (retryAfter ?? 0));
    if (this.#failing.add(what).size >= FAILURES) this.#closed = true;
  }

  /** Probe now: the network is back or the page is visible again. */
  wake(): void {
    this.#probes = 0;
    if (this.#closed && this.#waiting.size) void this.#probe();
    else for (const listener of [...this.#listeners]) listener();
  }

  /** Call `listener` when failed loads should be retried. Returns the function that removes it. */
  onOpen(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #schedule(): void {
    if (this.#timer || this.#probing) return;
    const wait = Math.max(
      this.#notBefore - Date.now(),
      backoff(++this.#probes, { ...PROBE_BACKOFF, random: this.random }),
    );
    this.#timer = setTimeout(() => this.#probe(), wait);
  }

  async #probe(): Promise<void> {
    if (this.#probing) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const first = this.#waiting.entries().next().value;
    // No request waits, or the page is hidden: the next enter() or wake() starts again.
    if (!first || globalThis.document?.hidden) return;
    const [go, probe] = first;
    // Rotate: one broken image must not keep the gate closed.
    this.#waiting.delete(go);
    this.#waiting.set(go, probe);
    this.#probing = true;
    const answered = await probe();
    this.#probing = false;
    if (answered) this.succeeded();
    else if (this.#closed) this.#schedule();
  }
}
