export * from "./smart-image.8gN0w66m.js";
