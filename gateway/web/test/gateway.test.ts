import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { isImageId } from "../src/core/addresses.js";
import { type Api, createApi } from "../src/core/api.js";
import { TOOLS } from "../src/core/api-at.js";
import { config, configureSmartImage, forgetters } from "../src/core/config.js";
import { createGateway, type Gateway } from "../src/core/gateway.js";
import { imageProxy } from "../src/core/image-proxy.js";

const END = 4_000_000_000; // Unix seconds
const fetched = vi.fn<typeof fetch>();

beforeEach(() => {
  vi.useFakeTimers();
  fetched.mockReset();
  vi.stubGlobal("fetch", fetched);
  vi.stubGlobal("location", new URL("https://page/"));
  vi.stubGlobal("navigator", { onLine: true });
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
  for (const key of Object.keys(config)) delete config[key as keyof typeof config];
});

function answer(data: object, init: ResponseInit = {}): Response {
  return new Response(JSON.stringify({ status: "success", message: "ok", data }), init);
}

function urls(...ids: string[]): Response {
  return answer({ urls: Object.fromEntries(ids.map((id) => [id, { url: `cos/${id}`, expires_at: END }])), errors: {} });
}

const apiAt = (base: string): Api => createApi(base, config, forgetters, isImageId, ...TOOLS);
const diagnose = (gateway: Gateway, address: string, signal = new AbortController().signal) =>
  gateway.diagnose([address, performance.now()], address, 0, true, signal);
const gathered = () => vi.advanceTimersByTimeAsync(16);
const sent = (call: number) => fetched.mock.calls[call]?.[1] as RequestInit & { headers: Record<string, string> };

test("fifty images are one call, and cached URLs need none", async () => {
  const gateway = apiAt("https://gw");
  const ids = Array.from({ length: 50 }, (_, index) => `i${index}`);
  fetched.mockImplementation(async () => urls(...ids));
  const answers = Promise.all(ids.map((id) => gateway.url(id)));
  await gathered();
  expect((await answers)[7]?.url).toBe("cos/i7");
  expect((await gateway.url("i7")).url).toBe("cos/i7");
  expect(fetched).toHaveBeenCalledTimes(1);
  expect(fetched.mock.calls[0]?.[0]).toBe("https://gw/api/v1/images/urls");
  expect(JSON.parse(String(sent(0).body))).toEqual({ image_ids: ids });
});

test("a rejected token is renewed once, for 401 and for errors in a batch", async () => {
  const tokens = ["old", "new", "newer"];
  const getToken = vi.fn(async () => tokens.shift() ?? null);
  configureSmartImage({ baseUrl: "https://gw", getToken });
  const gateway = apiAt("https://gw");
  fetched.mockResolvedValueOnce(answer({ urls: {}, errors: { a: "unauthorized" } })).mockResolvedValueOnce(urls("a"));
  const found = gateway.url("a");
  await gathered();
  expect((await found).url).toBe("cos/a");
  expect(getToken.mock.calls).toEqual([[{ renew: false }], [{ renew: true }]]);
  expect([sent(0), sent(1)].map(({ headers }) => headers.Authorization)).toEqual(["Bearer old", "Bearer new"]);

  fetched.mockResolvedValue(new Response("", { status: 401 }));
  await expect(gateway.refresh("a")).rejects.toMatchObject({ kind: "unauthorized", status: 401 });
  expect(getToken).toHaveBeenCalledTimes(3);
});

test("a dead URL is replaced by the gateway's newest, else by a new one", async () => {
  const gateway = apiAt("https://gw");
  fetched
    .mockResolvedValueOnce(urls("a"))
    .mockResolvedValueOnce(urls("a"))
    .mockResolvedValueOnce(answer({ image_id: "a", url: "cos/made", expires_at: END }));
  const first = gateway.url("a");
  await gathered();
  const second = gateway.urlFor("a", (await first).url, false, false);
  await gathered();
  expect((await second)?.url).toBe("cos/made");
  expect(fetched.mock.calls[2]?.[0]).toBe("https://gw/api/v1/images/a/url/refresh");
  // One who found the same URL dead shares the new one.
  expect((await gateway.urlFor("a", "cos/a", false, false))?.url).toBe("cos/made");
  expect(fetched).toHaveBeenCalledTimes(3);
});

test("diagnosis sends one HEAD at a time, and none while the gate is closed", async () => {
  const gateway = createGateway("https://gw");
  fetched.mockImplementation(
    async () => new Response(null, { status: 503, headers: { "Retry-After": "7", "X-Request-Id": "r" } }),
  );
  const causes = await Promise.all(
    Array.from({ length: 20 }, (_, index) => diagnose(gateway, `https://gw/i/${index}`)),
  );
  expect(causes[0]).toMatchObject({ kind: "unavailable", status: 503, retryAfter: 7000, requestId: "r" });
  expect(causes[19]).toMatchObject({ kind: "network", status: null });
  expect(fetched).toHaveBeenCalledTimes(3);
  expect(gateway.gate.closed).toBe(true);
});

test("imageProxy returns a URL or an error for each id", async () => {
  configureSmartImage({ baseUrl: "https://service/" });
  fetched.mockResolvedValueOnce(
    answer({ urls: { a: { url: "cos/a", expires_at: END } }, errors: { b: "image_not_found" } }),
  );
  const answers = imageProxy.batch(["a", "b"]);
  await gathered();
  const found = await answers;
  expect(found.get("a")).toMatchObject({ url: "cos/a" });
  expect(found.get("b")).toMatchObject({ kind: "not_found" });
  const described = { url: "cos/a", expires_at: END, meta: { image_id: "a", width: 8 } };
  fetched.mockResolvedValueOnce(answer({ urls: { a: described }, errors: {} }));
  const asked = imageProxy.meta("a");
  await gathered();
  expect(await asked).toMatchObject({ width: 8 });
  expect(imageProxy.proxyUrl("a", { style: "card" })).toBe("https://service/i/a?style=card");
  fetched.mockResolvedValueOnce(answer({ image_id: "a", url: "cos/new", expires_at: END }));
  expect((await imageProxy.refresh("a")).url).toBe("cos/new");
  expect((await imageProxy.url("a")).url).toBe("cos/new");
});

test("metadata is requested only for images that need it, once", async () => {
  const gateway = apiAt("https://gw");
  fetched.mockImplementation(async (_, init) => {
    const { image_ids, include } = JSON.parse(String(init?.body)) as { image_ids: string[]; include?: string[] };
    const found = (image_id: string) => ({
      url: `cos/${image_id}`,
      expires_at: END,
      ...(include && { meta: { image_id } }),
    });
    return answer({ urls: Object.fromEntries(image_ids.map((id) => [id, found(id)])), errors: {} });
  });
  const asked = [gateway.url("a"), gateway.url("b"), gateway.urlFor("c", null, true, false)];
  await gathered();
  expect((await Promise.all(asked)).map((found) => !!found?.meta)).toEqual([false, false, true]);
  const bodies = () => fetched.mock.calls.map(([, init]) => JSON.parse(String(init?.body)));
  expect(bodies()).toEqual([{ image_ids: ["a", "b"] }, { image_ids: ["c"], include: ["meta"] }]);
  const later = gateway.meta("a");
  await gathered();
  expect(await later).toEqual({ image_id: "a" });
  expect(bodies()[2]).toEqual({ image_ids: ["a"], include: ["meta"] });
  expect([await gateway.meta("a"), (await gateway.url("c")).meta]).toEqual([{ image_id: "a" }, { image_id: "c" }]);
  expect(fetched).toHaveBeenCalledTimes(3);
});

test("metadata is not requested again from a gateway without it", async () => {
  const gateway = apiAt("https://gw");
  fetched.mockResolvedValue(urls("a"));
  const first = gateway.meta("a");
  await gathered();
  expect(await first).toBeUndefined();
  expect(await gateway.meta("b")).toBeUndefined();
  expect(fetched).toHaveBeenCalledTimes(1);
});

test("an image that is deleted while the gateway answers has no metadata, and others have", async () => {
  const gateway = apiAt("https://gw");
  const found = { url: "cos/x", expires_at: END };
  const described = { ...found, meta: { image_id: "x" } };
  for (const urls of [{ a: described, b: found }, { c: found }, { d: described }])
    fetched.mockResolvedValueOnce(answer({ urls, errors: {} }));
  const metas = [];
  for (const ids of ["ab", "c", "d"]) {
    const asked = Promise.all([...ids].map((id) => gateway.meta(id)));
    await gathered();
    metas.push(...(await asked));
  }
  expect(metas).toEqual([described.meta, undefined, undefined, described.meta]);
});

test("another user gets neither the token, nor the URLs, nor a call in flight of the one before", async () => {
  configureSmartImage({ baseUrl: "https://gw", getToken: () => "alice" });
  const gateway = apiAt("https://gw");
  let answerAlice: (answer: Response) => void = () => undefined;
  fetched.mockImplementation(async (_, init) => {
    const { headers, body } = init as { headers: Record<string, string>; body: string };
    const { image_ids = ["refreshed"] } = JSON.parse(body) as { image_ids?: string[] };
    const owner = headers.Authorization?.replace("Bearer ", "");
    const url = { url: `cos/${owner}`, expires_at: END };
    if (image_ids[0] === "refreshed") return answer(url);
    const made = answer({ urls: Object.fromEntries(image_ids.map((id) => [id, url])), errors: {} });
    if (owner === "alice" && image_ids[0] === "b") return new Promise((resolve) => (answerAlice = () => resolve(made)));
    return made;
  });
  const known = gateway.url("a");
  await gathered();
  expect((await known).url).toBe("cos/alice");
  const inFlight = gateway.url("b");
  await gathered();
  configureSmartImage({ getToken: () => "bob" });
  const asked = ["a", "b"].map((id) => gateway.url(id));
  answerAlice(new Response());
  await gathered();
  expect((await Promise.all([...asked, inFlight])).map(({ url }) => url)).toEqual(["cos/bob", "cos/bob", "cos/bob"]);
  expect((await gateway.refresh("a")).url).toBe("cos/bob");
  configureSmartImage({ monitor: false });
  expect(gateway.cache.get("b")?.url).toBe("cos/bob");
});

test("a bearer token and cookies go only to origins that the configuration names", async () => {
  const getToken = vi.fn(() => "secret");
  const trustedOrigins = ["https://second.example/path"];
  configureSmartImage({ baseUrl: "https://gw/images", trustedOrigins, getToken, credentials: "include" });
  fetched.mockImplementation(async () => urls("a"));
  const sentTo = async (base: string) => {
    await apiAt(base).refresh("a");
    const { headers, credentials } = sent(fetched.mock.calls.length - 1);
    return [headers.Authorization, credentials];
  };
  for (const base of ["https://gw", "https://gw/elsewhere", "https://second.example"])
    expect(await sentTo(base), base).toEqual(["Bearer secret", "include"]);
  getToken.mockClear();
  for (const base of [
    "https://other.example",
    "http://gw",
    "https://gw:8443",
    "https://gw.other.example",
    "//other",
    "http://[",
  ])
    expect(await sentTo(base), base).toEqual([undefined, "same-origin"]);
  fetched.mockResolvedValue(new Response("", { status: 401 }));
  await expect(apiAt("https://other.example").refresh("a")).rejects.toMatchObject({ kind: "unauthorized" });
  expect(getToken).not.toHaveBeenCalled();
});

test("without a configured address the token goes to the page's own origin", async () => {
  configureSmartImage({ getToken: () => "secret" });
  fetched.mockImplementation(async () => urls("a"));
  await apiAt("https://page").refresh("a");
  expect(sent(0).headers.Authorization).toBe("Bearer secret");
  await apiAt("https://gw").refresh("a");
  expect(sent(1).headers.Authorization).toBeUndefined();
});

test("what is no id becomes part of no address", async () => {
  const gateway = apiAt("https://gw");
  await expect(gateway.refresh("../../admin")).rejects.toMatchObject({ kind: "invalid", status: null });
  expect(fetched).not.toHaveBeenCalled();
});

test("a token that arrives after the user has changed is not used", async () => {
  let tell: (token: string) => void = () => undefined;
  configureSmartImage({ baseUrl: "https://gw", getToken: () => new Promise((resolve) => (tell = resolve)) });
  const gateway = apiAt("https://gw");
  fetched.mockImplementation(async () => urls("a"));
  const found = gateway.url("a");
  await gathered();
  configureSmartImage({ getToken: () => "bob" });
  tell("alice");
  await found;
  expect(sent(fetched.mock.calls.length - 1).headers.Authorization).toBe("Bearer bob");
  await gateway.refresh("a");
  expect(sent(fetched.mock.calls.length - 1).headers.Authorization).toBe("Bearer bob");
});

test("what a browser asks for after the failure by itself does not show that all bytes had come", async () => {
  const entryOf = (startTime: number, encodedBodySize: number, responseStatus?: number) => {
    return { startTime, encodedBodySize, responseStatus, initiatorType: "img" } as PerformanceResourceTiming;
  };
  fetched.mockImplementation(async () => new Response(null, { headers: { "Content-Length": "1000" } }));
  const gateway = createGateway("https://gw");
  const kind = async (since: number, at: number, entries: PerformanceResourceTiming[]) => {
    vi.spyOn(performance, "getEntriesByName").mockReturnValue(entries);
    const failure = await gateway.diagnose(["https://gw/i/a", at], "a", since, true, new AbortController().signal);
    return failure.kind;
  };
  const whole = entryOf(10, 1000);
  expect(await kind(5, 20, [whole])).toBe("decode");
  expect(await kind(5, 20, [entryOf(10, 500), entryOf(20, 1000)])).toBe("network");
  expect(await kind(5, 10, [whole]), "what broke off has no entry").toBe("network");
  expect(await kind(15, 20, [whole]), "it was asked for after an earlier attempt").toBe("network");
  expect(await kind(15, 20, [entryOf(10, 1000, 200)]), "the bytes are those of an earlier attempt").toBe("decode");
});
