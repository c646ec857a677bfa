export * from "./smart-image.DRM1sHHV.js";
