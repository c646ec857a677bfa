import { expect, test } from "vitest";
import { candidates, isImageId, proxyAddress } from "../src/core/addresses.js";
import { configureSmartImage } from "../src/core/config.js";
import nextLoader, { createLoader } from "../src/next-loader.js";
import nuxt from "../src/nuxt.js";
import { extract, generate, transform } from "../src/unpic.js";
import { useImage } from "../src/use-image.js";

const BASE = "https://img.example.com";

test("an address contains only the requested variant", () => {
  expect(proxyAddress(BASE, "a")).toBe(`${BASE}/i/a`);
  expect(proxyAddress(BASE, "a", { style: "card", width: 320, format: "webp", version: "7" })).toBe(
    `${BASE}/i/a?style=card&w=320&format=webp&v=7`,
  );
});

test.each(["../../admin", "..", ".", "%2e%2e", "a/../../admin", "a?style=card", "a#b", "\\admin", "", "a b"])(
  "no address leaves /i/ because of %j as an id",
  (id) => {
    for (const made of [proxyAddress(BASE, id), createLoader({ baseUrl: BASE })({ src: id, width: 9 })]) {
      const { pathname, search, hash } = new URL(made);
      expect(decodeURIComponent(pathname)).toBe(`/i/ ${id}`);
      expect(search + hash).toBe("");
    }
  },
);

test("a signed link is a path of the gateway, an address or a query", () => {
  expect(proxyAddress(BASE, "a", { link: "/i/a?kid=k", width: 9 })).toBe(`${BASE}/i/a?kid=k&w=9`);
  expect(proxyAddress(BASE, "a", { link: "//cdn.example.com/i/a?kid=k" })).toBe("//cdn.example.com/i/a?kid=k");
  expect(proxyAddress(BASE, "a", { link: "?kid=k&exp=9&sig=s", style: "card" })).toBe(
    `${BASE}/i/a?kid=k&exp=9&sig=s&style=card`,
  );
  expect(proxyAddress(BASE, "a", { link: "https://cdn.example.com/i/a?kid=k", width: 9 })).toBe(
    "https://cdn.example.com/i/a?kid=k&w=9",
  );
});

test("each explicit format is a <source>, and the last candidate is for the <img>", () => {
  expect(candidates(BASE, "a", { style: "card" }, [320, 640], ["avif", "original"])).toEqual([
    {
      type: "image/avif",
      srcset: `${BASE}/i/a?style=card&w=320&format=avif 320w, ${BASE}/i/a?style=card&w=640&format=avif 640w`,
    },
    {
      srcset: `${BASE}/i/a?style=card&w=320&format=original 320w, ${BASE}/i/a?style=card&w=640&format=original 640w`,
    },
  ]);
  expect(candidates(BASE, "a", {}, [320], [])).toEqual([{ srcset: `${BASE}/i/a?w=320 320w` }]);
});

test.each([
  ["a", true],
  ["a.b:c@d-e_f", true],
  ["x".repeat(128), true],
  ["x".repeat(129), false],
  [".a", false],
  ["a/b", false],
  ["", false],
])("%s as an id: %s", (id, valid) => {
  expect(isImageId(id)).toBe(valid);
});

test("next/image, Nuxt Image and unpic get the same addresses", () => {
  const wanted = `${BASE}/i/a?style=card&w=640`;
  expect(createLoader({ baseUrl: BASE, styleName: "card" })({ src: "a", width: 640, quality: 75 })).toBe(wanted);
  // Without a style there are no widths and formats.
  expect(nextLoader({ src: "a", width: 640 })).toBe("/i/a");
  expect(nuxt().getImage("a", { baseURL: BASE, modifiers: { width: "640", format: "webp" } }).url).toBe(`${BASE}/i/a`);
  expect(generate("a", { width: 640, format: "webp", version: "7" }, { baseUrl: BASE })).toBe(`${BASE}/i/a?v=7`);
  expect(nuxt().getImage("a", { baseURL: BASE, modifiers: { width: 640, style: "card" } })).toEqual({ url: wanted });
  const options = { baseURL: BASE, style: "card", modifiers: { width: "639.5", format: "webp" } };
  expect(nuxt().getImage("/a", options).url).toBe(`${wanted}&format=webp`);
  expect(createLoader({ baseUrl: BASE, styleName: "card", format: "avif" })({ src: "a", width: 640 })).toBe(
    `${wanted}&format=avif`,
  );
  expect(generate("a", { width: 640, style: "card" }, { baseUrl: BASE })).toBe(wanted);
  expect(transform(`${BASE}/i/a?style=card&w=320`, { width: 640 })).toBe(wanted);
  expect(extract(wanted)).toEqual({
    src: "a",
    operations: { style: "card", width: 640 },
    options: { baseUrl: BASE },
  });
  expect(extract("https://example.com/other.png")).toBeNull();
});

test("loaders keep the signed link of a source", () => {
  const link = "kid=k&exp=9&sig=s";
  const wanted = `${BASE}/i/a?${link}&style=card&w=640`;
  for (const src of [
    `a?${link}`,
    `/a?${link}`,
    `${BASE}/i/a?${link}`,
    `https://other.example.com/i/a?sig=s&exp=9&kid=k&w=9`,
  ]) {
    expect(createLoader({ baseUrl: BASE, styleName: "card" })({ src, width: 640 })).toBe(wanted);
    expect(nuxt().getImage(src, { baseURL: BASE, style: "card", modifiers: { width: 640 } }).url).toBe(wanted);
    expect(generate(src, { width: 640, style: "card" }, { baseUrl: BASE })).toBe(wanted);
  }
  expect(transform(`${BASE}/i/a?${link}&style=card&w=320`, { width: 640 })).toBe(wanted);
  expect(extract(wanted)).toEqual({
    src: "a",
    operations: { style: "card", width: 640, link },
    options: { baseUrl: BASE },
  });
  expect(generate("a", { link: "?kid=other" }, { baseUrl: BASE })).toBe(`${BASE}/i/a?kid=other`);
});

test("the legacy formats of <NuxtPicture> are the original", () => {
  for (const format of ["jpeg", "jpg", "png", "gif"]) {
    const { url } = nuxt().getImage("a", { baseURL: BASE, modifiers: { width: 640, style: "card", format } });
    expect(url).toBe(`${BASE}/i/a?style=card&w=640&format=original`);
  }
});

test("useImage returns what an <img> needs, for what is no element", () => {
  configureSmartImage({ baseUrl: "https://gw/", variants: { card: { widths: [320, 640], formats: ["webp"] } } });
  const card = "https://gw/i/a?style=card";
  expect(useImage("a")).toEqual({
    src: "https://gw/i/a",
    srcset: undefined,
    sizes: undefined,
    width: undefined,
    height: undefined,
  });
  expect(useImage("a", { styleName: "card", width: 320, ratio: "16:9" })).toEqual({
    src: `${card}&w=320&r=16:9`,
    srcset: `${card}&w=320&r=16:9 320w, ${card}&w=640&r=16:9 640w`,
    sizes: "(min-width: 320px) 320px, 100vw",
    width: 320,
    height: 180,
  });
  // Without the widths of the style: those of its box.
  const mail = useImage("a", { styleName: "mail", width: 600, format: "original", link: "kid=k&exp=9&sig=s" });
  const linked = "https://gw/i/a?kid=k&exp=9&sig=s&style=mail";
  expect(mail.src).toBe(`${linked}&w=600&format=original`);
  expect(mail.srcset).toBe(`${linked}&w=600&format=original 1x, ${linked}&w=1200&format=original 2x`);
  expect(mail.sizes).toBeUndefined();
  expect(useImage("a", { styleName: "card", width: 100, widths: [100], sizes: "50vw" }).sizes).toBe("50vw");
  expect(useImage("a", { styleName: "card", height: 90, ratio: "16:9" }).width).toBe(160);
  // Width and format belong to a style.
  expect(useImage("a", { width: 320, format: "webp" }).src).toBe("https://gw/i/a");
  configureSmartImage({ baseUrl: "", variants: {} });
});
