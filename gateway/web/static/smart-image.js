export * from "./smart-image.Ctu8Ih2q.js";
