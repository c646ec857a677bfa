import { expect, test } from "vitest";
import { candidates, isImageId, proxyAddress } from "../src/core/addresses.js";
import nextLoader, { createLoader } from "../src/next-loader.js";
import nuxt from "../src/nuxt.js";
import { extract, generate, transform } from "../src/unpic.js";

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

test("a signed link is an address or a query", () => {
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
