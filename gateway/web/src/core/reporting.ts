import { baseUrlOf, config } from "./config.js";
import type { FailureKind } from "./failure.js";
import type { LoadReport, Monitor } from "./monitor.js";

/** Records the outcome of a load, or the reason of a retry. */
export type Report = (seen: LoadReport | FailureKind) => void;

let monitor: Promise<Monitor | undefined> | undefined;

// The collector is loaded on demand: most pages report nothing.
const collect: Report = async (seen) => {
  monitor ??= import("./monitor.js").then(
    ({ monitorOf }) => monitorOf(config, baseUrlOf()),
    () => (monitor = undefined), // the gateway does not answer: the next report loads the collector
  );
  (await monitor)?.report(seen);
};

/** Return the reporter, or undefined if neither the page nor the element (`wanted`) reports. */
export function reportTo(wanted: boolean): Report | undefined {
  return config.monitor || wanted ? collect : undefined;
}
