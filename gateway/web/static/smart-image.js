export * from "./smart-image.BLQdLAGD.js";
