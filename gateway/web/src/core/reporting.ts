import { baseUrlOf, config } from "./config.js";
import type { FailureKind } from "./failure.js";
import type { LoadReport, Monitor } from "./monitor.js";
import { onDemand } from "./on-demand.js";

/** Records the outcome of a load, or the reason of a retry. */
export type Report = (seen: LoadReport | FailureKind) => void;

let monitor: Monitor | undefined;

// Most pages report nothing.
const collecting = onDemand(() => import("./monitor.js"));
const collect: Report = async (seen) => {
  try {
    const { monitorOf } = await collecting();
    monitor ??= monitorOf(config, baseUrlOf());
    monitor.report(seen);
  } catch {
    // The gateway does not answer: the next report loads the collector.
  }
};

/** Return the reporter, or undefined if neither the page nor the element (`wanted`) reports. */
export function reportTo(wanted: boolean): Report | undefined {
  return config.monitor || wanted ? collect : undefined;
}
