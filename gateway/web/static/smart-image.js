export * from "./smart-image.D9IVNaEi.js";
