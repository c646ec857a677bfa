import { baseUrlOf, config } from "./config.js";
import type { FailureKind } from "./failure.js";
import type { LoadReport, Monitor } from "./monitor.js";

/** Takes what became of a picture, or the reason of a retry. */
export type Report = (seen: LoadReport | FailureKind) => void;

let monitor: Promise<Monitor> | undefined;

// Most pages report nothing: the collector is loaded by those that do.
const collect: Report = async (seen) => {
  const options = () => (typeof config.monitor === "object" ? config.monitor : {});
  monitor ??= import("./monitor.js").then((module) => new module.Monitor(options, baseUrlOf()));
  (await monitor).report(seen);
};

/** Where to report to; undefined where neither the page nor the element (`wanted`) wants it. */
export function reportTo(wanted: boolean): Report | undefined {
  return config.monitor || wanted ? collect : undefined;
}
