let areSizesTrusted = true;

/** Return the Resource Timings that the browser has of the image at `address`, since that time in ms. */
export function timingsOf(address: string, since = 0): PerformanceResourceTiming[] {
  const all = performance.getEntriesByName(address) as PerformanceResourceTiming[];
  return all.filter(({ initiatorType, startTime }) => initiatorType !== "fetch" && startTime >= since);
}

/** Whether fewer bytes came than the gateway tells in `Server-Timing`. Firefox fires `load` for such an image. */
export function isCut(address: string): boolean {
  const { decodedBodySize, serverTiming } = timingsOf(address).at(-1) ?? {};
  const size = serverTiming?.find(({ name }) => name === "size")?.description;
  return areSizesTrusted && !!decodedBodySize && decodedBodySize < Number(size);
}

/** A whole body had another size: a proxy in front of the gateway makes images smaller. */
export function distrustSizes(): void {
  areSizesTrusted = false;
}
