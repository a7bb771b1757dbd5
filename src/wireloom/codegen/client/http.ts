// -- HTTP -------------------------------------------------------------------------------------------------------------

import {
  type ClientSettings,
  currentToken,
  isObject,
  type JsonObject,
  type ParameterValues,
  type Query,
  refusalOf,
  RequestError,
  RequestTimeout,
  targetOf,
} from "./options.js";

export interface HttpOperation {
  readonly method: string;
  readonly path: string;
  readonly query: readonly string[];
  /** What the body is: nothing, all that is no parameter, or a value beside the parameters. */
  readonly body: "none" | "rest" | "value";
  readonly auth: string;
  readonly isEnveloped: boolean;
}

export class HTTP {
  constructor(
    private readonly settings: ClientSettings,
    private readonly base: string,
  ) {}

  async call<T>(operation: HttpOperation, parameters: object, value?: unknown, query: Query = {}): Promise<T> {
    const values = parameters as ParameterValues;
    const url = this.base + targetOf(operation.path, operation.query, values, query);
    const headers = await this.#headers(operation);
    const content = operation.body === "rest" ? restOf(values, operation) : value;
    const signal = AbortSignal.timeout(Math.min(this.settings.timeoutSeconds * 1000, 2 ** 31 - 1));
    const init: RequestInit = { method: operation.method, headers, signal };
    if (operation.body !== "none" && content !== undefined) init.body = bodyOf(content, headers);
    const [answer, text] = await this.#fetch(url, init);
    const told = parsed(text);
    if (!answer.ok) throw failureOf(answer.status, told);
    return (operation.isEnveloped && isObject(told) ? told["data"] : (told ?? text)) as T;
  }

  async #fetch(url: string, init: RequestInit): Promise<[Response, string]> {
    try {
      const answer = await (this.settings.fetch ?? fetch)(url, init);
      return [answer, await answer.text()];
    } catch (error) {
      if (!(error instanceof DOMException) || error.name !== "TimeoutError") throw error;
      throw new RequestTimeout(`${init.method} ${url}: no answer within ${this.settings.timeoutSeconds} s`);
    }
  }

  async #headers(operation: HttpOperation): Promise<Record<string, string>> {
    const { token, apiKey } = this.settings;
    if (operation.auth === "api_key") return apiKey === undefined ? {} : { "X-API-Key": apiKey };
    const current = await currentToken(token);
    return current === null ? {} : { Authorization: `Bearer ${current}` };
  }
}

export function restOf(values: ParameterValues, operation: HttpOperation): JsonObject {
  const isParameter = (name: string): boolean => operation.path.includes(`{${name}}`) || operation.query.includes(name);
  return Object.fromEntries(Object.entries(values).filter(([name]) => !isParameter(name)));
}

/** JSON; or a form, where there is a file in it. */
export function bodyOf(content: unknown, headers: Record<string, string>): string | FormData {
  const members = isObject(content) ? Object.entries(content) : [];
  const isFile = (value: unknown): value is Blob => value instanceof Blob;
  if (!members.some(([, value]) => [value].flat().some(isFile))) {
    headers["Content-Type"] = "application/json";
    return JSON.stringify(content);
  }
  const form = new FormData();
  for (const [name, value] of members) {
    for (const each of [value].flat()) {
      if (isFile(each)) form.append(name, each);
      else if (each !== undefined && each !== null) form.append(name, String(each));
    }
  }
  return form;
}

export function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

export function failureOf(status: number, told: unknown): RequestError {
  const error = isObject(told) ? told["error"] : undefined;
  if (error === undefined || error === null) return new RequestError(`HTTP_${status}`, `HTTP status ${status}`, status);
  return refusalOf(error, { code: `HTTP_${status}`, ...(told as JsonObject) }, status);
}
