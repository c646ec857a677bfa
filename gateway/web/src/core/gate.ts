import { longestDelay } from "./retry.js";
import { abortable, sleep } from "./sleep.js";

/** Asks whether the gateway answers. Never rejects. `failedAt`: when the answer was no, in ms; 0 or nothing if it was yes. */
export type Probe = { (): Promise<boolean>; failedAt?: number };

const FAILURES = 3;
const SPREAD = 2000;
// ms before the next probe: the longest pause while the gateway does not answer, and while it does but an image fails.
const OUTAGE_PAUSE = 5_000;
const BROKEN_PAUSE = 30_000;

/**
 * A circuit breaker for the requests of one page to one gateway.
 *
 * It closes after failures of three different images without a success in between. While it is closed, all requests wait.
 * While it is open, only images wait that were given up, however few they are. As long as something waits, one probe at a
 * time is sent, ever more rarely and at least every five seconds; every thirty, if probes succeed and images still fail. After
 * a successful probe its image starts at once, and all others that wait at random times within two seconds.
 */
export interface Gate {
  /** Whether requests have to wait. */
  readonly closed: boolean;
  /** Wait while the gate is closed. `probe` may be called meanwhile. Rejects when the signal is aborted. */
  enter(probe: Probe, signal: AbortSignal): Promise<void>;
  /** Wait until a probe succeeds, the gate opens, or `wake()` is called; then up to two seconds more, unless it was `probe`. */
  wait(probe: Probe, signal: AbortSignal): Promise<unknown>;
  /** Wait `ms` and until the page is visible, or until `wake()` is called; then up to two seconds more. */
  rest(ms: number, signal: AbortSignal): Promise<void>;
  /** Record an answer of the gateway: open the gate. */
  succeeded(): void;
  /**
   * Record a failure of the image `id`. No probe is sent for `retryAfter` ms. One broken image never closes the gate.
   * Images without an id count as one: their origin may hide its answers, so that no probe would open the gate.
   */
  failed(id: string | null, retryAfter?: number | null): void;
  /** The network is back or the page is visible again: probe now, or let failed loads be tried again. */
  wake(): void;
}

/** Make an open gate. */
export function createGate(): Gate {
  const failing = new Set<string | null>();
  const waiting = new Map<(isOwn: boolean) => void, Probe>();
  const resting = new Set<() => void>();
  let isClosed = false;
  let isProbing: boolean | undefined;
  let isAnswered: boolean | undefined;
  let probes = 0;
  let notBefore = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;

  async function wait(probe: Probe, signal: AbortSignal): Promise<unknown> {
    const isOwn = await abortable<boolean>(signal, (go) => {
      waiting.set(go, probe);
      schedule();
      return () => waiting.delete(go);
    });
    // An image whose probe succeeded does not wait: broken ones would close the gate again before.
    return isOwn || sleep(Math.random() * SPREAD, signal);
  }

  function open(answered?: Probe): void {
    isClosed = false;
    failing.clear();
    unschedule();
    for (const [go, probe] of waiting) go(probe === answered);
  }

  function succeeded(): void {
    failing.clear();
    // A success of another image is no reason to ask more often for one that stays broken.
    if (isClosed || !waiting.size) probes = 0;
    if (isClosed) open();
  }

  function schedule(): void {
    if (!waiting.size || timer || isProbing) return;
    const maxDelay = isAnswered ? BROKEN_PAUSE : OUTAGE_PAUSE;
    const delay = Math.random() * longestDelay(++probes, { delay: 1000, maxDelay });
    timer = setTimeout(ask, Math.max(notBefore - Date.now(), delay));
  }

  function unschedule(): void {
    clearTimeout(timer);
    timer = undefined;
  }

  async function ask(): Promise<void> {
    if (isProbing) return;
    unschedule();
    // Images that stay broken must not be asked for before all others.
    const [first] = [...waiting.values()].sort((a, b) => (a.failedAt ?? 0) - (b.failedAt ?? 0));
    // No request waits, or the page is hidden: the next enter() or wake() starts again.
    if (!first || globalThis.document?.hidden) return;
    isProbing = true;
    isAnswered = await first();
    first.failedAt = isAnswered ? 0 : Date.now();
    isProbing = false;
    if (isAnswered) open(first);
    else schedule();
  }

  return {
    get closed() {
      return isClosed;
    },
    async enter(probe, signal) {
      while (isClosed && !(await wait(probe, signal)));
    },
    wait,
    async rest(ms, signal) {
      await abortable<void>(signal, (go) => {
        // Of a hidden page `wake()` ends it.
        const timer = setTimeout(() => globalThis.document?.hidden || go(), ms);
        resting.add(go);
        return () => {
          clearTimeout(timer);
          resting.delete(go);
        };
      });
      await sleep(Math.random() * SPREAD, signal);
    },
    succeeded,
    failed(id, retryAfter) {
      if (retryAfter) notBefore = Math.max(notBefore, Date.now() + retryAfter);
      if (failing.add(id).size < FAILURES) return;
      if (!isClosed) isAnswered = false;
      isClosed = true;
      schedule();
    },
    wake() {
      probes = 0;
      for (const go of resting) go();
      if (isClosed && waiting.size) void ask();
      else open();
    },
  };
}
