export * from "./smart-image.DjJOnMFd.js";
