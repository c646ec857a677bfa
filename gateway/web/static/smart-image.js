export * from "./smart-image.nbXBYnA5.js";
