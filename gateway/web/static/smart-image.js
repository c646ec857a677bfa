export * from "./smart-image.DuRw1o76.js";
