import { expect, test } from "vitest";
import { kindOf, kindOfCode, retryAfterOf } from "../src/core/answers.js";
import { actionFor, isTransient } from "../src/core/failure.js";

test.each([
  [0, "network", "retry", "retry"],
  [200, "decode", "retry", "retry"],
  [400, "invalid", "stop", "stop"],
  [401, "unauthorized", "authorize", "stop"],
  [403, "refused", "stop", "renew"],
  [404, "not_found", "stop", "stop"],
  [410, "not_found", "stop", "stop"],
  [429, "throttled", "retry", "retry"],
  [451, "blocked", "stop", "stop"],
  [500, "server", "retry", "retry"],
  [502, "server", "retry", "retry"],
  [503, "unavailable", "retry", "retry"],
  [504, "server", "retry", "retry"],
] as const)("status %i is %s: %s, with a presigned URL %s", (status, kind, viaProxy, viaUrl) => {
  expect(kindOf(status)).toBe(kind);
  expect(actionFor(kind, false)).toBe(viaProxy);
  expect(actionFor(kind, true)).toBe(viaUrl);
});

test.each([
  ["image_not_found", "not_found"],
  ["image_blocked", "blocked"],
  ["unauthorized", "unauthorized"],
  ["invalid_image_id", "invalid"],
  ["unknown_style", "invalid"],
  ["catalog_unavailable", "unavailable"],
])("the code %s is %s", (code, kind) => {
  expect(kindOfCode(code)).toBe(kind);
});

test("only transient failures count against the gateway", () => {
  expect(isTransient("unavailable")).toBe(true);
  expect(isTransient("unauthorized")).toBe(false);
  expect(isTransient("decode")).toBe(false);
});

test("Retry-After is read in seconds and as a date", () => {
  const now = Date.parse("Wed, 25 Nov 2026 12:00:00 GMT");
  expect(retryAfterOf("120", now)).toBe(120_000);
  expect(retryAfterOf("Wed, 25 Nov 2026 12:00:30 GMT", now)).toBe(30_000);
  expect(retryAfterOf("Wed, 25 Nov 2026 11:00:00 GMT", now)).toBeNull();
  expect(retryAfterOf("soon", now)).toBeNull();
  expect(retryAfterOf("99999999999", now)).toBe(24 * 3_600_000); // a timer of 25 days ends at once
  expect(retryAfterOf(null, now)).toBeNull();
});
