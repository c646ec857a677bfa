import { afterEach, expect, test, vi } from "vitest";
import { fetchVariants } from "../src/variants.js";

afterEach(() => void vi.unstubAllGlobals());

const fallback = { card: { widths: [320], formats: ["webp"] } };

test("a build without a gateway goes on with the fallback, and without one it ends", async () => {
  const warned = vi.spyOn(console, "warn").mockImplementation(() => undefined);
  for (const away of [async () => new Response("", { status: 502 }), () => Promise.reject(new TypeError("away"))]) {
    vi.stubGlobal("fetch", away);
    expect(await fetchVariants("https://gw", { fallback })).toBe(fallback);
    await expect(fetchVariants("https://gw")).rejects.toThrow();
  }
  expect(warned).toHaveBeenCalledTimes(2);
  vi.stubGlobal("fetch", async () => Response.json({ variants: {} }));
  expect(await fetchVariants("https://gw/", { fallback })).toEqual({});
});
