export * from "./smart-image.P4KJLBdL.js";
