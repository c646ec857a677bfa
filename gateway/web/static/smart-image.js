export * from "./smart-image.B1reMR2y.js";
