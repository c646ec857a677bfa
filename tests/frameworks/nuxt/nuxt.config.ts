export default defineNuxtConfig({
  modules: ["@image-gateway/web/nuxt-module", "@nuxt/image"],
  imageGateway: { baseUrl: "http://127.0.0.1:8080", styleName: "card" },
  compatibilityDate: "2026-01-01",
  telemetry: false,
});
