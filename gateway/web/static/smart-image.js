export * from "./smart-image.CoRnTQez.js";
