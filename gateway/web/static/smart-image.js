export * from "./smart-image.DHte6G1X.js";
