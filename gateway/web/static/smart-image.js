export * from "./smart-image.D5mtBmZu.js";
