export * from "./smart-image.BwB2KZSy.js";
