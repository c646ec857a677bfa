export * from "./smart-image.jNVDusF4.js";
