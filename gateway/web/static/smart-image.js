export * from "./smart-image.BAyfP9gH.js";
