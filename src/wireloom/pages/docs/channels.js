/** A WebSocket endpoint: what clients send and get, and its live console. */

import { make, titled } from "./dom.js";
import { Console } from "./console.js";
import { choicesOf } from "./composer.js";
import { exampleOf } from "./http.js";
import { resolve, sampleOf, targetOf } from "./schema.js";
import { rowOf, treeOf } from "./tree.js";

/** What is known of a channel, from all that the document says of it. */
export function channelOf(root, key) {
  const channel = root.channels[key];
  const operations = Object.values(root.operations).filter((each) => each.channel.$ref === `#/channels/${key}`);
  const messages = (action) => operations.filter((each) => each.action === action).flatMap((each) => each.messages).map((reference) => ({ key: reference.$ref.split("/").pop(), message: targetOf(root, reference) }));
  const { query, headers } = channel.bindings?.ws ?? {};
  return {
    path: channel.address,
    summary: channel.summary ?? channel.title ?? "",
    tags: (channel.tags ?? []).map((tag) => tag.name),
    guarded: operations.some((each) => each.security?.length),
    parameters: [...pathParameters(channel), ...queryParameters(query)],
    protocols: headers?.properties?.["Sec-WebSocket-Protocol"]?.enum ?? [],
    received: () => messages("receive"),
    sent: () => messages("send"),
  };
}

function pathParameters(channel) {
  return Object.entries(channel.parameters ?? {}).map(([name, parameter]) => {
    const typed = parameter["x-wireloom-schema"];
    const description = parameter.description === `The segment ${name} of the path.` ? undefined : parameter.description; // a heading says so
    return { name, in: "path", required: true, description, schema: typed ?? { type: "string", ...(parameter.enum ? { enum: parameter.enum } : {}) } };
  });
}

function queryParameters(query) {
  const required = query?.required ?? [];
  return Object.entries(query?.properties ?? {}).map(([name, schema]) => ({ name, in: "query", required: required.includes(name), schema }));
}

/** What is inside a channel's entry. */
export function channelParts(root, channel) {
  const rows = channel.parameters.map((each) => rowOf(root, each.name, { ...each.schema, ...(each.description ? { description: each.description } : {}) }, each.required, true, ` in ${each.in}`));
  const live = new Console(root, { path: channel.path, parameters: channel.parameters, protocols: channel.protocols, guarded: channel.guarded, messages: choicesOf(root, channel.received()) });
  return [
    rows.length ? titled("Parameters", "", make("div", { class: "schema" }, rows)) : null,
    make("div", { class: "pair" }, titled("Clients send", "", listOf(root, channel.received(), true)), titled("Clients get", "", listOf(root, channel.sent(), false))),
    live.element,
  ];
}

/** Messages one below the other; where there are many, closed ones. */
function listOf(root, messages, asked) {
  const few = messages.length <= 3;
  return messages.map(({ message }) => {
    const head = [make("b", {}, message.name), noteOf(root, message), message.summary ? make("span", { class: "told" }, ` ${message.summary}`) : null];
    if (few) return make("div", { class: "message" }, make("p", {}, head), insideOf(root, message, asked));
    const details = make("details", { class: "message" }, make("summary", {}, head));
    details.addEventListener("toggle", () => { if (details.open && details.children.length === 1) details.append(...insideOf(root, message, asked)); });
    return details;
  });
}

function noteOf(root, message) {
  return message.contentType && message.contentType !== root.defaultContentType ? make("span", { class: "kind" }, message.contentType) : null;
}

function insideOf(root, message, asked) {
  const samples = (message.examples ?? []).map((each) => make("div", { class: "row" }, make("code", {}, JSON.stringify(each.payload))));
  if (samples.length) return [make("div", { class: "schema" }, samples)];
  const known = Object.keys(resolve(root, message.payload)).some((name) => name !== "description" && name !== "title");
  return [treeOf(root, message.payload, asked), known && !noteOf(root, message) ? exampleOf(sampleOf(root, message.payload)) : null].filter(Boolean);
}

/** What is inside the entry for any path at all. */
export function anyPathParts(root) {
  const told = "For what no document tells of, such as a callback: a connection to any path of this server.";
  return [make("p", { class: "told" }, told), new Console(root, { parameters: [], messages: [] }).element];
}
