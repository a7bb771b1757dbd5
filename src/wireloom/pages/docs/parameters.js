/** Parameters of path and query as inputs, and the address that they make. */

import { freshId, make, textInput } from "./dom.js";
import { kindOf, limitsOf, resolve, sampleOf } from "./schema.js";

/** Where the application is: the page's own address without its last part. */
export const base = new URL("./", document.baseURI);

export const addressOf = (path) => base.href.replace(/\/$/, "") + path;

/** An address of the WebSocket kind. */
export const socketAddressOf = (path) => addressOf(path).replace(/^http/, "ws");

const isMany = (root, schema) => resolve(root, schema).type === "array";

/** Inputs of parameters, each `{ name, in, required, schema, description }`. */
export class ParameterFields {
  constructor(root, parameters, changed) {
    this.entries = parameters.map((parameter) => ({ parameter, many: isMany(root, parameter.schema), input: inputOf(root, parameter, changed) }));
    this.element = parameters.length ? make("div", { class: "fields" }, this.entries.map(({ parameter, input, many }) => fieldOf(root, parameter, input, many))) : null;
  }

  /** The names of those without which there is no address. */
  missing() {
    return this.entries.filter(({ parameter, input }) => input.value === "" && (parameter.in === "path" || parameter.required)).map(({ parameter }) => parameter.name);
  }

  /** The path with its query. */
  fill(template) {
    const query = new URLSearchParams();
    let path = template;
    for (const { parameter, many, input } of this.entries) {
      if (parameter.in === "path") path = path.replace(`{${parameter.name}}`, () => encodeURIComponent(input.value) || `{${parameter.name}}`);
      else for (const value of many ? input.value.split("\n") : [input.value]) if (value !== "") query.append(parameter.name, value);
    }
    const text = query.toString();
    return text ? `${path}?${text}` : path;
  }
}

function textOf(value) {
  if (value === undefined || value === null) return "";
  return typeof value === "string" ? value : JSON.stringify(value);
}

function inputOf(root, parameter, changed) {
  const whole = resolve(root, parameter.schema);
  const values = whole.enum ?? (whole.type === "boolean" ? [true, false] : undefined);
  if (values) {
    const options = values.map((value) => make("option", { value: textOf(value) }, textOf(value)));
    return make("select", { onchange: changed }, parameter.required ? [] : make("option", { value: "" }, "not set"), options);
  }
  if (whole.type === "array") return make("textarea", { rows: 2, spellcheck: "false", autocomplete: "off", oninput: changed });
  const input = textInput({ oninput: changed, "aria-required": String(parameter.required) });
  input.value = parameter.required && parameter.in === "query" ? textOf(sampleOf(root, parameter.schema)) : "";
  return input;
}

function fieldOf(root, parameter, input, many) {
  const whole = resolve(root, parameter.schema);
  input.id = freshId("parameter");
  const told = [parameter.description ?? whole.description, many ? "One on each line." : ""].filter(Boolean).join(" ");
  const hint = told ? make("span", { class: "hint", id: freshId("hint") }, told) : null;
  if (hint) input.setAttribute("aria-describedby", hint.id);
  const kind = whole.enum ? `in ${parameter.in}` : [kindOf(root, parameter.schema), limitsOf(whole), `in ${parameter.in}`].filter(Boolean).join(", ");
  return make("div", { class: "field" },
    make("div", { class: "labels" }, make("label", { for: input.id }, parameter.name), parameter.required ? make("span", { class: "must" }, "required") : null, make("span", { class: "kind" }, kind)), input, hint);
}
