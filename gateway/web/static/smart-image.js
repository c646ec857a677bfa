export * from "./smart-image.JKxyZnf6.js";
