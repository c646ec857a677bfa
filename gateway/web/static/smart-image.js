export * from "./smart-image.DzkjFUES.js";
