export * from "./smart-image.CJR70m9G.js";
