export * from "./smart-image.PV_pmaNs.js";
