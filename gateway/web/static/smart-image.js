export * from "./smart-image.CSj7PqUp.js";
