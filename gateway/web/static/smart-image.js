export * from "./smart-image.CN5LYGm4.js";
