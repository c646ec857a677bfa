let areSizesTrusted = true;

/**
 * Return the last Resource Timing of the image at `address` since that time in ms, if the browser has one. `isNext`: the first
 * one since then, if then is not 0, else the last one of all.
 */
export function timingOf(address: string, since = 0, isNext = false): PerformanceResourceTiming | undefined {
  const all = performance.getEntriesByName(address) as PerformanceResourceTiming[];
  const entries = all.filter(({ initiatorType }) => initiatorType !== "fetch");
  const later = entries.filter(({ startTime }) => startTime >= since);
  return isNext ? (since && later[0]) || entries.at(-1) : later.at(-1);
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
