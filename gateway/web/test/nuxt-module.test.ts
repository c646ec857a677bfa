import { afterEach, expect, test, vi } from "vitest";
import imageGateway from "../src/nuxt-module.js";

afterEach(() => vi.unstubAllGlobals());

const VARIANTS = { card: { widths: [320, 640], formats: ["webp"] } };

test("the Nuxt module adds the component, the composables, the configuration and a provider", async () => {
  const hooks: Record<string, (list: object[]) => void> = {};
  const options = {
    imageGateway: { baseUrl: "https://gw", styleName: "card" },
    build: { transpile: [] },
    css: ["own.css"],
    plugins: [] as { src: string }[],
    runtimeConfig: { public: {} },
    vue: { compilerOptions: { isCustomElement: (tag: string) => tag === "another-element" } },
  };
  const hook = vi.fn((name: string, extend: (list: object[]) => void) => {
    hooks[name] = extend;
  });
  const fetched = vi.fn(async () => new Response(JSON.stringify({ variants: VARIANTS })));
  vi.stubGlobal("fetch", fetched);
  await imageGateway({}, { options, hook });
  expect(fetched.mock.calls[0]).toMatchObject(["https://gw/static/config.json", {}]);
  expect(options).toMatchObject({
    css: ["@image-gateway/web/smart-image.css", "own.css"],
    runtimeConfig: { public: { imageGateway: { baseUrl: "https://gw", variants: VARIANTS } } },
    image: {
      providers: {
        gateway: { provider: "@image-gateway/web/nuxt", options: { baseURL: "https://gw", style: "card" } },
      },
    },
  });
  expect(options.plugins[0]?.src).toMatch(/^\/.*nuxt-plugin\.js$/);
  const { isCustomElement } = options.vue.compilerOptions;
  expect(["smart-image", "another-element", "p"].map(isCustomElement)).toEqual([true, true, false]);

  const components: object[] = [];
  hooks["components:extend"]?.(components);
  expect(components).toMatchObject([{ pascalName: "SmartImage", filePath: "@image-gateway/web/vue" }]);
  const imports: { name?: string }[] = [];
  hooks["imports:extend"]?.(imports);
  const exported: object = await import("../src/vue.js");
  expect(imports.every(({ name }) => name && name in exported)).toBe(true);
  expect(imports).toHaveLength(5);
  // Nuxt makes the type of this key in nuxt.config from it.
  expect(await imageGateway.getMeta()).toMatchObject({ configKey: "imageGateway" });
});

test("a build goes on without the gateway, and warns", async () => {
  vi.stubGlobal("fetch", async () => new Response("", { status: 503 }));
  const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
  const options = {
    build: { transpile: [] },
    css: [],
    plugins: [],
    runtimeConfig: { public: {} },
    vue: { compilerOptions: {} },
  };
  await imageGateway({ baseUrl: "https://gw" }, { options, hook: () => {} });
  expect(options.runtimeConfig.public).toEqual({ imageGateway: { baseUrl: "https://gw" } });
  expect(warn.mock.calls.join()).toContain("https://gw/static/config.json: 503");
});
