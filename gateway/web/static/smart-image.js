export * from "./smart-image.DGiO_0w1.js";
