export * from "./smart-image.1Cdx-N4-.js";
