export * from "./smart-image.B6hWjIYp.js";
