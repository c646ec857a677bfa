export * from "./smart-image.DFhtXpb0.js";
