import { backoff } from "./retry.js";
import { abortable, sleep } from "./sleep.js";

/** Asks the gateway whether it answers: resolves with true or false, and rejects for nothing. */
export type Probe = () => Promise<boolean>;

const FAILURES = 3;
const SPREAD = 2000;
const PROBE_BACKOFF = { max: Infinity, delay: 1000, maxDelay: 15_000 };

/**
 * Holds back requests to a gateway that fails.
 *
 * After three failures in a row, each of another picture, it closes: one probe goes at a time, everybody else waits. Once a probe succeeds, those
 * who wait go within two seconds, not all at once.
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

  /** Return at once while the gate is open, else when it has opened again; rejects when the signal is aborted. */
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

  /** The gateway answered. */
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

  /** The gateway failed for `what`; it asked to be left alone for `retryAfter` ms. One bad picture is no outage. */
  failed(what: string, retryAfter: number | null = null): void {
    this.#notBefore = Math.max(this.#notBefore, Date.now() + (retryAfter ?? 0));
    if (this.#failing.add(what).size >= FAILURES) this.#closed = true;
  }

  /** Something changed (the network came back, the page is visible again): do not wait any longer. */
  wake(): void {
    this.#probes = 0;
    if (this.#closed && this.#waiting.size) void this.#probe();
    else for (const listener of [...this.#listeners]) listener();
  }

  /** Call `listener` when it is worth while to try again what was given up; returns how to stop that. */
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
    // Nobody is left to ask for, or to see it: the next one to enter, or the page shown again, starts over.
    if (!first || globalThis.document?.hidden) return;
    const [go, probe] = first;
    // The next probe is another one's: one bad picture must not keep the gate closed.
    this.#waiting.delete(go);
    this.#waiting.set(go, probe);
    this.#probing = true;
    const answered = await probe();
    this.#probing = false;
    if (answered) this.succeeded();
    else if (this.#closed) this.#schedule();
  }
}
