import { make } from "./elements.js";

/** What a page shows, as chosen in `Try it`. */
export interface Choice {
  image: string;
  /** Empty for the original. */
  style: string;
  /** Those that the browser may choose from; empty: all that the gateway lists for the style. */
  widths: readonly number[];
  formats: readonly string[];
  /** Empty for the image's own. */
  ratio: string;
  mode: string;
  /** The space that the picture takes, in CSS pixels. */
  size: { width: number; height: number };
}

/** The languages of the snippets, in the order of the page. */
export const LANGUAGES = ["HTML", "Vue", "React", "Nuxt", "useImage"] as const;

export type Language = (typeof LANGUAGES)[number];

type Attributes = (readonly [name: string, value: string | number])[];

const LINE = 84;
const STYLE_SHEET = 'import "@image-gateway/web/smart-image.css";';

/** Return code that shows the image as chosen; `base` is the address of the gateway. */
export function snippet(language: Language, choice: Choice, base: string): string {
  return CODE[language](choice, base);
}

const CODE: Record<Language, (choice: Choice, base: string) => string> = {
  HTML: (choice, base) =>
    [
      `<link rel="stylesheet" href="${base}/static/smart-image.css">`,
      `<script type="module" src="${base}/static/smart-image.js"></script>`,
      "",
      `${wrapped("<smart-image", attributesOf(choice).map(text))}></smart-image>`,
    ].join("\n"),
  Vue: (choice) =>
    [
      "<script setup>",
      STYLE_SHEET,
      'import { SmartImage } from "@image-gateway/web/vue";',
      "</script>",
      ...template(choice),
    ].join("\n"),
  React: (choice) => {
    const attributes = attributesOf(choice).map(([name, value]) =>
      isNumber(value) ? `${camel(name)}={${value}}` : text([camel(name), value]),
    );
    return [
      STYLE_SHEET,
      'import { SmartImage } from "@image-gateway/web/react";',
      "",
      "export const Picture = () => (",
      `${wrapped("  <SmartImage", attributes)} />`,
      ");",
    ].join("\n");
  },
  Nuxt: (choice, base) =>
    [
      `// nuxt.config: modules: ["@image-gateway/web/nuxt-module"], imageGateway: { baseUrl: "${base}" }`,
      ...template(choice),
    ].join("\n"),
  useImage: ({ image, style, widths, formats, ratio, size }) => {
    const [width = size.width, ...otherWidths] = widths;
    const [format, ...otherFormats] = formats;
    const options = [
      ...(style ? [`styleName: "${style}"`] : []),
      `width: ${otherWidths.length ? size.width : width}`,
      ...(ratio ? [`ratio: "${ratio}"`] : []),
      ...(format && !otherFormats.length ? [`format: "${format}"`] : []),
    ];
    return [
      "// Without the element: backgrounds, posters, <picture>, e-mail. Nothing is requested.",
      'import { useImage } from "@image-gateway/web";',
      "",
      `const { src } = useImage("${image}", { ${options.join(", ")} });`,
      'hero.style.backgroundImage = "url(" + src + ")";',
    ].join("\n");
  },
};

/** The lines of a template of Vue. */
function template(choice: Choice): string[] {
  const attributes = attributesOf(choice).map(([name, value]) => (isNumber(value) ? ":" : "") + text([name, value]));
  return ["<template>", `${wrapped("  <SmartImage", attributes)} />`, "</template>"];
}

function attributesOf({ image, style, widths, formats, ratio, mode, size }: Choice): Attributes {
  const found: Attributes = [
    ["image-id", image],
    ["alt", image],
  ];
  if (style) found.push(["style-name", style]);
  if (widths.length) found.push(["widths", widths.join(" ")]);
  if (formats.length) found.push(["formats", formats.join(" ")]);
  if (ratio) found.push(["ratio", ratio]);
  found.push(["width", size.width], ["height", size.height]);
  if (mode !== "proxy") found.push(["mode", mode]);
  return found;
}

/** Return the tag with its attributes on lines of at most `LINE` characters. */
function wrapped(tag: string, attributes: string[]): string {
  const indent = " ".repeat(tag.search(/\S/) + 2);
  const lines = [tag];
  for (const attribute of attributes) {
    const line = `${lines.at(-1)} ${attribute}`;
    if (line.length <= LINE) lines[lines.length - 1] = line;
    else lines.push(`${indent}${attribute}`);
  }
  return lines.join("\n");
}

function text([name, value]: Attributes[number]): string {
  return `${name}="${value}"`;
}

function isNumber(value: unknown): value is number {
  return typeof value === "number";
}

function camel(name: string): string {
  return name.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
}

const TOKENS =
  /(?<text>"[^"]*"|\{\d+\})|(?<tag><\/?[\w-]+|\/?>)|(?<word>\b(?:import|from|export|const|setup)\b)|(?<note>\/\/ .*)/g;

/** Return the code as coloured nodes. */
export function coloured(code: string): (Node | string)[] {
  const nodes: (Node | string)[] = [];
  let end = 0;
  for (const match of code.matchAll(TOKENS)) {
    const [kind] = Object.entries(match.groups ?? {}).find(([, text]) => text !== undefined) ?? ["text"];
    nodes.push(code.slice(end, match.index), make("span", { className: `code-${kind}` }, match[0]));
    end = match.index + match[0].length;
  }
  return [...nodes, code.slice(end)];
}
