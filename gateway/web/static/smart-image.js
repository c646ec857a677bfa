export * from "./smart-image.Cs-9g9l7.js";
