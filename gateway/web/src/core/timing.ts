let areSizesTrusted = true;

/** Return the last Resource Timing of the image at `address` since that time in ms, if the browser has one. */
export function timingOf(address: string, since = 0): PerformanceResourceTiming | undefined {
  const entries = performance.getEntriesByName(address) as PerformanceResourceTiming[];
  return entries.findLast(({ startTime, initiatorType }) => startTime >= since && initiatorType !== "fetch");
}

/** Whether fewer bytes came than the gateway tells in `Server-Timing`. Firefox fires `load` for such an image. */
export function isCut(address: string): boolean {
  const { decodedBodySize = 0, serverTiming } = timingOf(address) ?? {};
  const size = serverTiming?.find(({ name }) => name === "size")?.description;
  return areSizesTrusted && decodedBodySize > 0 && decodedBodySize < Number(size);
}

/** A whole body had another size: a proxy in front of the gateway makes images smaller. */
export function distrustSizes(): void {
  areSizesTrusted = false;
}
