import { expect, test } from "vitest";
import manifest from "../custom-elements.json" with { type: "json" };
import { HANDED_ON, NUMBERS, OBSERVED, SUBJECT, SWITCHES, TEXTS } from "../src/element/attributes.js";

const element = manifest.modules[0]?.declarations[0];

test("custom-elements.json lists every attribute, each with its property", () => {
  expect(element?.attributes.map(({ name }) => name).sort()).toEqual([...OBSERVED].sort());
  const names = { ...SUBJECT, ...HANDED_ON, ...TEXTS, ...SWITCHES };
  const numbers = Object.entries(NUMBERS).map(([property, [name]]) => [property, name] as const);
  for (const [property, name] of [...Object.entries(names), ...numbers]) {
    expect(element?.attributes.find((attribute) => attribute.name === name)).toMatchObject({ fieldName: property });
  }
});

test("its defaults are those of the code", () => {
  for (const [name, standard] of Object.values(NUMBERS)) {
    const told = element?.attributes.find((attribute) => attribute.name === name)?.default;
    if (told !== undefined) expect(Number(told)).toBe(standard);
  }
});
