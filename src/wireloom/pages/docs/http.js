/** An HTTP operation: what it takes and gives, and a form that sends it. */

import { credential, hasTokenField, useToken } from "./credentials.js";
import { announce, button, bytesIn, copyButton, download, labelled, make, pretty, sizeOf, textInput, titled } from "./dom.js";
import { curlOf, hexOf, javaScriptRequest, pythonRequest } from "./code.js";
import { Editor } from "./editor.js";
import { ParameterFields, addressOf } from "./parameters.js";
import { propertiesOf, resolve, sampleOf } from "./schema.js";
import { snippetOf } from "./snippet.js";
import { rowOf, treeOf } from "./tree.js";

const MAX_SHOWN = 1024 * 1024;

export const schemesOf = (operation) => (operation.security ?? []).flatMap(Object.keys);

/** What is inside an operation's entry. */
export function operationParts(root, method, path, operation, signed) {
  return [authOf(operation, signed), parametersOf(root, operation), bodyOf(root, operation), answersOf(root, operation), new Trial(root, method, path, operation, signed).element];
}

function authOf(operation, signed) {
  const told = { bearer: "a token: Authorization: Bearer …", api_key: "an API key: X-API-Key" };
  const needs = schemesOf(operation).map((scheme) => told[scheme] ?? scheme);
  if (signed) return titled("Needs", "", make("p", { class: "told" }, "an API key, X-API-Key, and a signature made with its signing secret: X-Webhook-Timestamp and X-Webhook-Signature"));
  return needs.length ? titled("Needs", "", make("p", { class: "told" }, needs.join(" or "))) : null;
}

function parametersOf(root, operation) {
  if (!operation.parameters?.length) return null;
  const rows = operation.parameters.map((each) => rowOf(root, each.name, each.schema, each.required, true, ` in ${each.in}`));
  return titled("Parameters", "", make("div", { class: "schema" }, rows));
}

function bodyOf(root, operation) {
  const content = operation.requestBody?.content;
  if (!content) return null;
  const [[, media]] = Object.entries(content);
  return titled("Body", Object.keys(content).join(" or "), treeOf(root, media.schema), exampleOf(sampleOf(root, media.schema)));
}

export function exampleOf(value) {
  return make("details", { class: "more" }, make("summary", {}, "Example"), make("pre", { tabindex: "0", "aria-label": "Example" }, JSON.stringify(value, null, 2)));
}

function answersOf(root, operation) {
  const rows = Object.entries(operation.responses).map(([status, response]) => {
    const whole = resolve(root, response);
    const data = status < "300" ? whole.content?.["application/json"]?.schema?.properties?.data : undefined;
    const inner = data === undefined ? make("span", { class: "told" }, whole.description) : make("div", {}, make("span", {}, "data"), treeOf(root, data, false), exampleOf(sampleOf(root, data)));
    return make("div", { class: "answer" }, make("span", { class: "status" }, status), inner);
  });
  const refusals = rows.slice(1);
  return titled("Answers", "", make("div", { class: "answers" }, rows[0],
    refusals.length ? make("details", { class: "more" }, make("summary", {}, "Refusals"), make("div", { class: "answers" }, refusals)) : null));
}

/** The inputs of a body with files: a field for each member. */
class MultipartFields {
  constructor(root, fields, changed) {
    this.inputs = fields.map(([name, field]) => {
      const isFile = holdsFile(root, field);
      const input = isFile ? make("input", { type: "file", multiple: resolve(root, field).type === "array", onchange: changed }) : textInput({ oninput: changed });
      return [name, input];
    });
    this.element = make("div", { class: "fields" }, this.inputs.map(([name, input]) => labelled(name, input)));
  }

  entries() {
    return this.inputs.flatMap(([name, input]) => {
      if (input.type === "file") return [...input.files].map((file) => [name, file]);
      return input.value ? [[name, input.value]] : [];
    });
  }
}

const holdsFile = (root, field) => JSON.stringify(resolve(root, field)).includes('"binary"');

/** The form that sends one operation. */
class Trial {
  constructor(root, method, path, operation, signed) {
    this.secret = signed ? make("input", { type: "password", autocomplete: "off", spellcheck: "false" }) : null;
    this.method = method.toUpperCase();
    this.path = path;
    this.operation = operation;
    const changed = () => this.snippet?.refresh();
    this.parameters = new ParameterFields(root, operation.parameters ?? [], changed);
    const [editor, multipart] = this.makeBody(root, changed);
    this.editor = editor;
    this.multipart = multipart;
    this.button = make("button", { type: "submit" }, "Send");
    this.outcome = make("p", { class: "outcome", role: "status" });
    this.answer = make("div", { class: "reply" });
    this.snippet = snippetOf([["curl", curlOf], ["Python", pythonRequest], ["JavaScript", javaScriptRequest]].map(([name, write]) => [name, () => write(this.request())]));
    this.element = make("form", { class: "try", autocomplete: "off", "aria-label": `Try ${this.method} ${path}`, onsubmit: (event) => this.send(event), onkeydown: (event) => this.key(event) },
      make("h3", {}, "Try it"), this.parameters.element, this.secret ? labelled("Signing secret", this.secret, "It is given with an API key, once. The API key itself is asked for at the side of the page.") : null, (editor ?? multipart)?.element, make("div", { class: "actions" }, this.button, this.outcome), this.answer, this.snippet.element);
  }

  makeBody(root, changed) {
    const content = this.operation.requestBody?.content;
    if (!content) return [null, null];
    const schema = (content["application/json"] ?? Object.values(content)[0]).schema;
    const fields = propertiesOf(resolve(root, schema));
    if (content["multipart/form-data"] && fields.some(([, field]) => holdsFile(root, field))) return [null, new MultipartFields(root, fields, changed)];
    return [new Editor(root, schema, "Body", changed), null];
  }

  key(event) {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      this.element.requestSubmit();
    }
  }

  /** What would be sent now, without its secrets. */
  request() {
    const schemes = schemesOf(this.operation);
    let json;
    try {
      json = this.editor?.payload();
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      json = "";
    }
    return { method: this.method, url: addressOf(this.parameters.fill(this.path)), bearer: schemes.includes("bearer"), apiKey: schemes.includes("api_key") && !schemes.includes("bearer"), json: this.secret ? json ?? "" : json, form: this.multipart?.entries(), signed: Boolean(this.secret) };
  }

  async options(request) {
    const headers = {};
    if (credential("bearer") && schemesOf(this.operation).includes("bearer")) headers.Authorization = `Bearer ${credential("bearer")}`;
    if (credential("api_key") && schemesOf(this.operation).includes("api_key")) headers["X-API-Key"] = credential("api_key");
    if (request.json !== undefined) headers["Content-Type"] = "application/json";
    if (request.signed) Object.assign(headers, await signatureOf(this.secret.value.trim(), request.json));
    let body = request.json;
    if (request.form) {
      body = new FormData();
      for (const [name, value] of request.form) body.append(name, value);
    }
    return { method: request.method, headers, body, credentials: "same-origin" };
  }

  async send(event) {
    event.preventDefault();
    if (this.button.disabled) return;
    const missing = this.parameters.missing();
    if (missing.length) {
      this.tell(`Fill in ${missing.join(", ")} first.`, true);
      return;
    }
    const request = this.request();
    this.button.disabled = true;
    this.tell("Sending…", false);
    const began = performance.now();
    try {
      const response = await fetch(request.url, await this.options(request));
      const bytes = new Uint8Array(await response.arrayBuffer());
      this.tell(`${response.status} ${response.statusText} in ${Math.round(performance.now() - began)} ms, ${sizeOf(bytes.length)}`, !response.ok);
      this.show(response, bytes);
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // what fetch raises where there was no answer
      this.tell(`It could not be sent: ${error.message}`, true);
      this.answer.replaceChildren();
    } finally {
      this.button.disabled = false;
    }
  }

  tell(text, bad) {
    this.outcome.textContent = text;
    this.outcome.classList.toggle("bad", bad);
  }

  show(response, bytes) {
    const headers = [...response.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
    const parts = [make("details", { class: "more" }, make("summary", {}, "Headers"), make("pre", { tabindex: "0", "aria-label": "Headers of the answer" }, headers))];
    const type = response.headers.get("content-type") ?? "";
    if (/json|text|xml|javascript|^$/.test(type) && bytes.length <= MAX_SHOWN) parts.push(...this.text(new TextDecoder().decode(bytes)));
    else parts.push(make("div", { class: "actions" }, make("span", { class: "told" }, `${type || "unknown content"}, ${sizeOf(bytes.length)}`), button("Save", () => download("answer", [bytes], type))));
    this.answer.replaceChildren(...parts);
  }

  text(text) {
    if (!bytesIn(text)) return [];
    const token = tokenIn(text);
    const use = token && hasTokenField() ? button("Use this token", () => { useToken(token); announce("The page sends this token from now on."); }) : null;
    return [make("pre", { tabindex: "0", "aria-label": "Answer" }, pretty(text)), make("div", { class: "actions" }, copyButton("Copy answer", () => pretty(text)), use)];
  }
}

/** The headers that prove a webhook's body. */
async function signatureOf(secret, body) {
  if (!crypto.subtle) throw new TypeError("browsers sign only on pages that came by TLS or from this very computer");
  const encode = (text) => new TextEncoder().encode(text);
  const timestamp = String(Math.floor(Date.now() / 1000));
  const key = await crypto.subtle.importKey("raw", encode(secret || "-"), { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  const signature = new Uint8Array(await crypto.subtle.sign("HMAC", key, encode(`${timestamp}.${body}`)));
  return { "X-Webhook-Timestamp": timestamp, "X-Webhook-Signature": `sha256=${hexOf(signature)}` };
}

/** The token that logging in gives. */
function tokenIn(text) {
  try {
    const token = JSON.parse(text)?.data?.token;
    return typeof token === "string" ? token : "";
  } catch {
    return "";
  }
}
