/** An image of the development stack. */
export interface Listed {
  image_id: string;
  file: string;
  owner: string | null;
  public: boolean;
}

/** What the development stack serves to its own page. */
export interface Stack {
  images: Listed[];
  tokens: Record<string, string>;
  faults: string[];
  /** The address of the console, without a slash at its end; empty until it is known. */
  console: string;
  /** Where the documents are, if they have been built. */
  site: string;
  admin_token: string;
}

/** An answer of the API that is not a success. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

/** Call the gateway and return `data` of its answer. Rejects with `ApiError`, and `TypeError` without an answer. */
export async function call<T>(method: string, path: string, options: { token?: string; body?: unknown } = {}) {
  const { token, body } = options;
  const headers: Record<string, string> = {};
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const answer = await fetch(path, {
    method,
    headers,
    cache: "no-store",
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const told = (await answer.json()) as { data: T; code?: string; message: string };
  if (!answer.ok) throw new ApiError(answer.status, told.code ?? "", told.message);
  return told.data;
}

/** Return the list of images, the tokens and the faults that are on. */
export function stack(): Promise<Stack> {
  return call<Stack>("GET", "/dev/images");
}
