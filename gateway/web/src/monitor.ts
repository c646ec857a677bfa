/** Reports of images that you display yourself. */
export type { MonitorOptions } from "./core/config.js";
export { type Beacon, type LoadReport, Monitor } from "./core/monitor.js";
