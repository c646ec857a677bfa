export * from "./smart-image.ABHtkBKb.js";
