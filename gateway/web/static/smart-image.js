export * from "./smart-image.B0zgN5hf.js";
