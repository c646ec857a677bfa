export * from "./smart-image.DArdXmTb.js";
