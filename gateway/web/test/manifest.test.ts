import { expect, test } from "vitest";
import manifest from "../custom-elements.json" with { type: "json" };
import { NUMBERS, OBSERVED, propertyOf, reflectAttributes } from "../src/element/attributes.js";

const element = manifest.modules[0]?.declarations[0];

test("custom-elements.json lists every attribute, each with its property", () => {
  const attributes = element?.attributes ?? [];
  expect(attributes.map(({ name }) => name).sort()).toEqual([...OBSERVED].sort());
  const prototype = {};
  reflectAttributes(prototype as HTMLElement);
  const told = attributes.map((attribute) => ("fieldName" in attribute ? attribute.fieldName : undefined));
  expect(told.filter(Boolean).sort()).toEqual(Object.getOwnPropertyNames(prototype).sort());
  for (const { name, fieldName } of attributes)
    expect(fieldName?.toLowerCase() ?? "lang").toBe(name.replaceAll("-", ""));
  expect(propertyOf("retry-max-delay")).toBe("retryMaxDelay");
});

test("its defaults are those of the code", () => {
  for (const [name, standard] of Object.entries(NUMBERS)) {
    const told = element?.attributes.find((attribute) => attribute.name === name)?.default;
    if (told !== undefined) expect(Number(told)).toBe(standard);
  }
});
