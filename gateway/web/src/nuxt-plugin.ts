/** Plugin of the Nuxt module: configures the gateway on the server and in the browser. */
import { defineNuxtPlugin } from "#app";
import { configureSmartImage, type SmartImageConfig } from "./core/config.js";

export default defineNuxtPlugin(({ $config }) => {
  configureSmartImage($config.public.imageGateway as SmartImageConfig);
});
