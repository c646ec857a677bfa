type Word<S extends string> = S extends `${infer First} ${infer Rest}` ? First | Word<Rest> : S;
type Camel<S extends string> = S extends `${infer Head}-${infer Tail}` ? `${Head}${Capitalize<Camel<Tail>>}` : S;

/** Attributes that select the image: a change starts a new load. */
export const SUBJECT = words("image-id src mode base-url style-name widths sizes formats ratio version link");
/** Attributes that are copied to the `<img>`. */
export const HANDED_ON = words("alt decoding crossOrigin referrerPolicy");
const TEXTS = words("fallback-src placeholder loading fetchPriority");
const SWITCHES = words("lazy priority monitor use-proxy");

/** Numeric attributes with their defaults. */
export const NUMBERS = {
  width: 0,
  height: 0,
  "max-retries": 3,
  "retry-delay": 1000,
  "retry-max-delay": 30_000,
  timeout: 60_000,
} as const;

type Name<List extends readonly string[]> = Camel<List[number]>;

/** Values of the attributes that have a closed set of them. */
interface Choices {
  mode: "proxy" | "url";
  loading: "lazy" | "eager";
  decoding: "async" | "sync" | "auto";
  fetchPriority: "high" | "low" | "auto";
  crossOrigin: "anonymous" | "use-credentials" | "";
  referrerPolicy: ReferrerPolicy;
}

type Text = Name<typeof SUBJECT> | Name<typeof HANDED_ON> | Name<typeof TEXTS>;

/** Properties that reflect attributes. */
export type AttributeProperties = Record<Exclude<Text, keyof Choices>, string | null> & {
  [Property in keyof Choices]: Choices[Property] | null;
} & Record<Camel<keyof typeof NUMBERS>, number> &
  Record<Name<typeof SWITCHES>, boolean>;

/** Properties of the components of frameworks: any may be left out, and lists may be lists. */
export type ComponentProperties = Omit<
  Partial<{ [Name in keyof AttributeProperties]: NonNullable<AttributeProperties[Name]> | undefined }>,
  "widths" | "formats"
> & { widths?: List; formats?: List };

/** A list as an attribute has it, or its members. */
export type List = string | readonly (string | number)[] | undefined;

type AttributeName =
  | (typeof SUBJECT)[number]
  | (typeof HANDED_ON)[number]
  | (typeof TEXTS)[number]
  | (typeof SWITCHES)[number]
  | keyof typeof NUMBERS;

/** Attributes as markup and templates write them. */
export type SmartImageAttributes = {
  [Attribute in AttributeName as Lowercase<Attribute>]?:
    | (Attribute extends keyof typeof NUMBERS
        ? number | `${number}`
        : Attribute extends (typeof SWITCHES)[number]
          ? boolean | "true" | "false" | ""
          : Attribute extends keyof Choices
            ? Choices[Attribute]
            : string)
    | undefined;
};

/** The attributes, written like their properties where these have another case. */
export const NAMES: readonly string[] = [...SUBJECT, ...HANDED_ON, ...TEXTS, ...Object.keys(NUMBERS), ...SWITCHES];

/** Every observed attribute. */
export const OBSERVED = [...NAMES, "lang"].map((name) => name.toLowerCase());

/** Property of an attribute. */
export function propertyOf(name: string): string {
  return name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
}

function words<const S extends string>(list: S): Word<S>[] {
  return list.split(" ") as Word<S>[];
}

/** Define the properties on a prototype. */
export function reflectAttributes(prototype: HTMLElement): void {
  for (const name of NAMES) {
    const standard = (NUMBERS as Record<string, number>)[name];
    const isSwitch = (SWITCHES as string[]).includes(name);
    Object.defineProperty(prototype, propertyOf(name), {
      get(this: HTMLElement) {
        const value = this.getAttribute(name);
        if (isSwitch) return (value ?? "false") !== "false";
        if (standard === undefined) return value;
        const number = Number.parseFloat(value ?? "");
        return number >= 0 ? number : standard;
      },
      set(this: HTMLElement, value: unknown) {
        if (value === null || value === undefined || value === false) this.removeAttribute(name);
        else this.setAttribute(name, value === true ? "" : String(value));
      },
    });
  }
}

/** Apply properties that were set before the element was defined: they hide the accessors. */
export function takeEarlyProperties(element: Record<string, unknown>): void {
  for (const [property, value] of Object.entries(element)) {
    delete element[property];
    element[property] = value;
  }
}
