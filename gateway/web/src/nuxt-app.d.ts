// What is used here of Nuxt, which resolves this name in applications.
declare module "#app" {
  interface NuxtApp {
    $config: { public: Record<string, unknown> };
  }
  export function defineNuxtPlugin(plugin: (app: NuxtApp) => void): unknown;
}
