export * from "./smart-image.Ds8DFDRd.js";
