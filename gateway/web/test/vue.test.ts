import { readFile } from "node:fs/promises";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createSSRApp, effectScope, h, nextTick, shallowRef } from "vue";
import { renderToString } from "vue/server-renderer";
import { config } from "../src/core/config.js";
import { createSmartImage, SmartImage, useImageCache, useImageRetry, useSmartImage } from "../src/vue.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => {
  vi.useRealTimers();
  for (const key of Object.keys(config)) delete config[key as keyof typeof config];
});

test("a server renders the element with its <img>", async () => {
  const app = createSSRApp(() => h(SmartImage, { imageId: "a", alt: "A gradient", width: 80, height: 60, lazy: true }));
  app.use(createSmartImage({ baseUrl: "https://gw/" }));
  const html = await renderToString(app);
  expect(html).toContain('image-id="a"');
  expect(html).toMatch(/<smart-image [^>]*lazy[^>]*>/);
  const img = /<img[^>]*>/.exec(html)?.[0];
  for (const part of ['src="https://gw/i/a"', 'alt="A gradient"', 'width="80"', 'loading="lazy"'])
    expect(img).toContain(part);
});

test("a server renders the formats and widths of a style", async () => {
  const props = { imageId: "a", styleName: "card", widths: [320, 640], formats: "avif original", sizes: "50vw" };
  const html = await renderToString(
    createSSRApp(() => h(SmartImage, { ...props, baseUrl: "https://gw", priority: true })),
  );
  const card = "https://gw/i/a?style=card&amp;w=320&amp;format";
  expect(html).toMatch(/<picture><source[^>]*><img[^>]*><\/picture>/);
  expect(/<source[^>]*>/.exec(html)?.[0]).toContain(`type="image/avif" sizes="50vw" srcset="${card}=avif 320w, `);
  const img = /<img[^>]*>/.exec(html)?.[0];
  for (const part of ['fetchpriority="high"', `srcset="${card}=original 320w, `, 'src="https://gw/i/a?style=card"'])
    expect(img).toContain(part);
  expect(img).not.toContain("loading");
  const lazy = await renderToString(
    createSSRApp(() => h(SmartImage, { imageId: "a", styleName: "card", widths: "320", lazy: true })),
  );
  expect(lazy).not.toContain("<picture>");
  expect(lazy).toContain('sizes="auto, 100vw"');
  const { sizes: _, ...unsized } = props;
  const sized = await renderToString(
    createSSRApp(() => h(SmartImage, { ...unsized, width: 80, baseUrl: "https://gw" })),
  );
  expect(sized).toContain('sizes="(min-width: 80px) 80px, 100vw"');
});

test("a server renders the widths and formats that are configured for a style", async () => {
  const app = createSSRApp(() => h(SmartImage, { imageId: "a", styleName: "card", width: 80 }));
  const variants = { card: { widths: [320, 640], formats: ["avif", "original"] } };
  app.use(createSmartImage({ baseUrl: "https://gw", variants }));
  const html = await renderToString(app);
  expect(html).toContain('srcset="https://gw/i/a?style=card&amp;w=320&amp;format=avif 320w, ');
  expect(html).toContain("</picture>");
});

test("a picture with priority is preloaded from the head of the page, if the server's context has one", async () => {
  const request = { crossorigin: "anonymous", referrerpolicy: "no-referrer" } as const;
  const card = { imageId: "a", styleName: "card", widths: [320], formats: "avif original", baseUrl: "https://gw" };
  const props = { ...card, ...request, decoding: "async" } as const;
  const push = vi.fn();
  const rendered = async (priority: boolean, context: object) =>
    renderToString(
      createSSRApp(() => h(SmartImage, { ...props, width: 80, priority })),
      context,
    );
  await rendered(false, { head: { push } });
  await rendered(true, {});
  expect(push).not.toHaveBeenCalled();
  const html = await rendered(true, { head: { push } });
  expect(html).toContain('decoding="async" crossorigin="anonymous" referrerpolicy="no-referrer" sizes=');
  const link = { rel: "preload", as: "image", type: "image/avif", fetchpriority: "high", ...request };
  const imagesrcset = "https://gw/i/a?style=card&w=320&format=avif 320w";
  const imagesizes = "(min-width: 80px) 80px, 100vw";
  const href = "https://gw/i/a?style=card";
  expect(push.mock.calls).toEqual([[{ link: [{ ...link, href, imagesrcset, imagesizes }] }]]);
});

test("a server renders a placeholder that is an image, and neither a colour nor a word", async () => {
  const rendered = (props: object, slots = {}) =>
    renderToString(createSSRApp(() => h(SmartImage, { imageId: "a", baseUrl: "https://gw", ...props }, slots)));
  const placeholder = "data:image/webp;base64,AAAA";
  const tiny = `<img slot="placeholder" alt src="${placeholder}">`;
  expect(await rendered({ placeholder })).toContain(`${tiny}<img `);
  expect(await rendered({ placeholder, mode: "url" })).toContain(tiny);
  expect(await rendered({ placeholder }, { placeholder: () => "mine" })).not.toContain(tiny);
  for (const other of ["blur", "#abc", "rgb(0 0 0 / 50%)", "javascript:alert(1)"])
    expect(await rendered({ placeholder: other })).not.toContain('slot="placeholder"');
});

test("a server renders an <img> without a source in url mode", async () => {
  const html = await renderToString(createSSRApp(() => h(SmartImage, { imageId: "a", mode: "url" })));
  expect(html).toContain("<img alt>");
  const switched = await renderToString(createSSRApp(() => h(SmartImage, { imageId: "a", useProxy: false })));
  expect(switched).toContain("<img alt>");
  expect(switched).toContain('use-proxy="false"');
});

test("useImageRetry counts reactively and is cancelled with its scope", async () => {
  const scope = effectScope();
  const retry = scope.run(() => useImageRetry({ max: 5, delay: 100, jitter: false }));
  if (!retry) throw new Error("no scope");
  const task = vi.fn(() => Promise.reject(new Error("no")));
  const result = expect(retry.run(task)).rejects.toMatchObject({ name: "AbortError" });
  await vi.advanceTimersByTimeAsync(100);
  expect(retry.attempt.value).toBe(2);
  scope.stop();
  await result;
  expect(vi.getTimerCount()).toBe(0);
});

test("useImageCache uses the cache of the gateway", () => {
  const cache = useImageCache("https://cache");
  const end = Date.now() / 1000 + 3600;
  cache.set("a", { url: "cos/a", expires_at: end });
  expect(useImageCache("https://cache").get("a")?.url).toBe("cos/a");
  expect(cache.stats()).toMatchObject({ size: 1, hits: 1 });
  cache.invalidate("a");
  expect(cache.get("a")).toBeUndefined();
  cache.set("a", { url: "cos/a", expires_at: end });
  cache.clear();
  expect(cache.get("a")).toBeUndefined();
  cache.set("a", { url: "cos/a", expires_at: end });
  createSmartImage({ getToken: () => "another" }).install?.(createSSRApp({}));
  expect(cache.get("a"), "another user").toBeUndefined();
});

test("useSmartImage follows the element", async () => {
  const element = Object.assign(new EventTarget(), {
    state: "idle",
    attempt: 0,
    currentSrc: "",
    lastError: null,
    reload: vi.fn(),
  });
  const target = shallowRef<unknown>(null);
  const scope = effectScope();
  const known = scope.run(() => useSmartImage(target as never));
  if (!known) throw new Error("no scope");
  target.value = { $el: element };
  await nextTick();
  Object.assign(element, { state: "loaded", attempt: 2, currentSrc: "x" });
  element.dispatchEvent(new Event("statechange"));
  expect([known.state.value, known.attempt.value, known.currentSrc.value]).toEqual(["loaded", 2, "x"]);
  known.reload({ fresh: true });
  expect(element.reload).toHaveBeenCalledWith({ fresh: true });
  scope.stop();
});

test("VUE.md names every export, prop, event and slot", async () => {
  const told = await readFile(new URL("../VUE.md", import.meta.url), "utf8");
  const sources = await readFile(new URL("../src/vue.ts", import.meta.url), "utf8");
  const exported = [...sources.matchAll(/^export (?:type )?\{([^}]*)\}/gm)].flatMap(([, names = ""]) =>
    names.split(","),
  );
  const component = SmartImage as unknown as { props: object; emits: object };
  const names = [...exported.map((name) => name.replace("type ", "").trim()), "createSmartImage"];
  for (const name of [...names, ...Object.keys(component.props), ...Object.keys(component.emits)])
    expect(
      [`\`${name}\``, `function ${name}(`].some((text) => told.includes(text)),
      name,
    ).toBe(true);
});
