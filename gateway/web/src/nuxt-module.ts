/** Nuxt module: `modules: ["@image-gateway/web/nuxt-module"]` and `imageGateway: {baseUrl: "https://img.example.com"}`. */
import { fileURLToPath } from "node:url";
import { fetchVariants, type Variants } from "./variants.js";

/**
 * `baseUrl`: the gateway. `credentials`: of its API calls. `styleName`: the style of images of Nuxt Image without one.
 * `variants`: the widths and formats of the styles; by default the gateway is asked when the application is built or started.
 */
export interface ModuleOptions {
  baseUrl?: string;
  credentials?: RequestCredentials;
  styleName?: string;
  variants?: Variants;
}

/** What is used here of an application. */
export interface NuxtApplication {
  options: {
    imageGateway?: ModuleOptions;
    image?: { providers?: Record<string, object> };
    build: { transpile: unknown[] };
    css: string[];
    plugins: unknown[];
    runtimeConfig: { public: Record<string, unknown> };
    vue: { compilerOptions: { isCustomElement?: (tag: string) => unknown } };
  };
  hook(name: "components:extend" | "imports:extend", extend: (list: object[]) => void): void;
}

const PACKAGE = "@image-gateway/web";
const COMPOSABLES = ["imageProxy", "useImageCache", "useImageMonitoring", "useImageRetry", "useSmartImage"];

/** Add `<SmartImage>`, the composables, the style sheet, and a provider `gateway` to Nuxt Image, if that comes after this module. */
export default async function imageGateway(inline: ModuleOptions, { options, hook }: NuxtApplication): Promise<void> {
  const { styleName: style, ...config } = { ...options.imageGateway, ...inline };
  if (config.baseUrl && !config.variants) {
    await fetchVariants(config.baseUrl).then(
      (variants) => Object.assign(config, { variants }),
      // biome-ignore lint/suspicious/noConsole: the build goes on
      (error) => console.warn(`${PACKAGE}: the server does not know the widths of styles: ${error}`),
    );
  }
  options.build.transpile.push(PACKAGE);
  options.css.unshift(`${PACKAGE}/smart-image.css`); // first: the rules of the application win
  options.runtimeConfig.public.imageGateway = config;
  options.plugins.push({
    src: fileURLToPath(new URL(/* @vite-ignore */ "./nuxt-plugin.js", import.meta.url)),
    mode: "all",
  });

  const { compilerOptions } = options.vue;
  const { isCustomElement } = compilerOptions;
  compilerOptions.isCustomElement = (tag) => tag === "smart-image" || !!isCustomElement?.(tag);

  hook("components:extend", (components) => {
    components.push({
      pascalName: "SmartImage",
      kebabName: "smart-image",
      export: "SmartImage",
      filePath: `${PACKAGE}/vue`,
      shortPath: `${PACKAGE}/vue`,
      chunkName: "components/smart-image",
      mode: "all",
      global: false,
      prefetch: false,
      preload: false,
    });
  });
  hook("imports:extend", (imports) => {
    imports.push(...COMPOSABLES.map((name) => ({ name, from: `${PACKAGE}/vue` })));
  });

  options.image ??= {};
  options.image.providers = {
    gateway: { provider: `${PACKAGE}/nuxt`, options: { baseURL: config.baseUrl, style } },
    ...options.image.providers,
  };
}

/** Name of the module, and the key of its options in `nuxt.config`. */
imageGateway.getMeta = async () => ({ name: `${PACKAGE}/nuxt-module`, configKey: "imageGateway" });
