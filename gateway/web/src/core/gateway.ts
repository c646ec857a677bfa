import { calls, TOOLS } from "./api-at.js";
import { baseUrlOf } from "./config.js";
import type { Diagnosis } from "./diagnosis.js";
import { type ImageLoadError, isTransient } from "./failure.js";
import { createGate, type Gate } from "./gate.js";
import type { Broken } from "./loader.js";
import { distrustSizes, timingsOf } from "./timing.js";

/** One gateway, of which a page has one object. */
export interface Gateway {
  readonly base: string;
  readonly gate: Gate;
  /** Whether a HEAD of `address` is answered without a transient error. Never rejects. */
  probe(address: string): Promise<boolean>;
  /** Find out why the image `id` failed; count it against the gateway. Without `mayAsk` no HEAD is sent. */
  diagnose(
    broken: Broken,
    id: string | null,
    since: number,
    mayAsk: boolean,
    signal: AbortSignal,
  ): Promise<ImageLoadError>;
  /** Report an outcome to the gate: a transient failure counts against the gateway, any other one is an answer, if believed. */
  report(failure: ImageLoadError, id: string | null): void;
}

/** Make the `Gateway` at `base`, which has no trailing slash. */
export function createGateway(base: string): Gateway {
  const gate = createGate();
  let diagnosis: Diagnosis | undefined;

  async function diagnosing(): Promise<Diagnosis> {
    const { createDiagnosis } = await calls();
    diagnosis ??= createDiagnosis(base, () => gate.closed, timingsOf, distrustSizes, ...TOOLS);
    return diagnosis;
  }

  function report({ kind, retryAfter, isDoubted }: ImageLoadError, id: string | null): void {
    if (isDoubted) return;
    if (isTransient(kind)) gate.failed(id, retryAfter);
    else gate.succeeded();
  }

  return {
    base,
    gate,
    report,
    probe: (address) =>
      diagnosing().then(
        (by) => by.answers(address),
        () => false,
      ),
    async diagnose(broken, id, since, mayAsk, signal) {
      return (await diagnosing()).cause(broken, since, mayAsk, signal, (failure) => report(failure, id));
    },
  };
}

const gateways = new Map<string, Gateway>();

/** Return the page's `Gateway` for an address. */
export function gatewayAt(given?: string | null): Gateway {
  const base = baseUrlOf(given);
  let gateway = gateways.get(base);
  if (!gateway) {
    gateway = createGateway(base);
    gateways.set(base, gateway);
    wakeWithThePage(gateway.gate);
  }
  return gateway;
}

function wakeWithThePage(gate: Gate): void {
  for (const type of ["online", "pageshow", "visibilitychange"]) {
    globalThis.addEventListener?.(type, () => document.hidden || gate.wake());
  }
}
