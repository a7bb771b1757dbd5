/** The page: reads the two documents and lists what is in them. What is inside an entry is made when it is opened first. */

import { anyPathParts, channelOf, channelParts } from "./channels.js";
import { learnCloseCodes } from "./console.js";
import { askForCredentials } from "./credentials.js";
import { byId, copyButton, lock, make, pathOf } from "./dom.js";
import { operationParts, schemesOf } from "./http.js";
import { chooseTheme } from "./theme.js";

const METHODS = ["get", "head", "post", "put", "patch", "delete", "options", "trace"];
const ANY_PATH = "any path";

/** One entry of the list. */
function entry(id, method, path, summary, guarded, fill) {
  const inside = make("div", { class: "inside" });
  const details = make("details", { class: "entry", id }, make("summary", {},
    make("span", { class: `method ${method}` }, method.toUpperCase()), make("span", { class: "what" }, pathOf(path), " ", make("span", { class: "told" }, summary)),
    guarded ? lock(guarded) : make("span")), inside);
  details.addEventListener("toggle", () => {
    if (!details.open) return;
    if (!inside.hasChildNodes()) inside.append(linkTo(id, `${method.toUpperCase()} ${path}`), ...fill().filter(Boolean));
    if (location.hash !== `#${id}`) history.replaceState(null, "", `#${encodeURIComponent(id)}`);
  });
  return { id, method, path, details, words: `${method} ${path} ${summary}`.toLowerCase() };
}

function linkTo(id, name) {
  const url = new URL(`#${encodeURIComponent(id)}`, document.baseURI).href;
  return make("p", { class: "link" }, make("a", { href: `#${encodeURIComponent(id)}`, "aria-label": `Link to ${name}` }, "Link"), copyButton("Copy link", () => url));
}

function operationEntry(root, path, method, operation, signed = false) {
  const schemes = schemesOf(operation);
  const guarded = schemes.includes("api_key") ? "needs an API key" : schemes.length ? "needs a token" : "";
  return entry(operation.operationId, method, path, operation.summary ?? "", guarded, () => operationParts(root, method, path, operation, signed));
}

function channelEntry(root, key, channel) {
  return entry(`channel_${key}`, "ws", channel.path, channel.summary, channel.guarded ? "needs a token" : "", () => channelParts(root, channel));
}

/** Everything by tag; `root`s are undefined where a document could not be read. */
function groupsOf(http, websocket) {
  const groups = new Map(websocket ? [["WebSocket", []]] : []);
  const add = (tag, one) => groups.set(tag, [...(groups.get(tag) ?? []), one]);
  for (const key of Object.keys(websocket?.channels ?? {})) {
    const channel = channelOf(websocket, key);
    add(channel.tags[0] ?? "WebSocket", channelEntry(websocket, key, channel));
  }
  if (websocket) add("WebSocket", entry("channel", "ws", ANY_PATH, "A live console for what no document tells of", "", () => anyPathParts(websocket)));
  for (const tag of http?.tags ?? []) if (!groups.has(tag.name)) groups.set(tag.name, []);
  for (const [path, item] of Object.entries(http?.paths ?? {})) {
    for (const method of METHODS.filter((each) => item[each])) add(item[method].tags?.[0] ?? "HTTP", operationEntry(http, path, method, item[method]));
  }
  for (const [path, item] of Object.entries(http?.["x-wireloom-webhooks"] ?? {})) {
    for (const method of METHODS.filter((each) => item[each])) add(item[method].tags?.[0] ?? "Webhooks", operationEntry(http, path, method, item[method], true));
  }
  return [...groups].filter(([, entries]) => entries.length);
}

function showGroup([tag, entries]) {
  const title = tag[0].toUpperCase() + tag.slice(1);
  const section = make("section", { class: "group", "aria-label": title }, make("h2", {}, title), make("div", {}, entries.map((each) => each.details)));
  byId("groups").append(section);
  const links = entries.map((each) => make("a", { href: `#${encodeURIComponent(each.id)}` }, make("span", { class: `method ${each.method}` }, each.method.toUpperCase()), make("span", { class: "path", title: each.path }, each.path)));
  const heading = make("h2", {}, title);
  byId("contents").append(heading, ...links);
  return { entries, section, heading, links };
}

function filter(groups, text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  let any = false;
  for (const group of groups) {
    const shown = group.entries.map((each) => words.every((word) => each.words.includes(word)));
    shown.forEach((visible, index) => {
      group.entries[index].details.hidden = group.links[index].hidden = !visible;
    });
    group.section.hidden = group.heading.hidden = !shown.includes(true);
    any ||= shown.includes(true);
  }
  byId("nothing").hidden = any;
}

function openTarget() {
  const target = byId(decodeURIComponent(location.hash.slice(1)));
  if (!target?.matches("details.entry")) return;
  target.open = true;
  target.scrollIntoView();
  target.firstElementChild.focus({ preventScroll: true });
}

async function load(name) {
  const response = await fetch(name);
  if (!response.ok) throw new Error(`${name}: ${response.status} ${response.statusText}`);
  return response.json();
}

function tellFailures(outcomes) {
  for (const { reason } of outcomes.filter((each) => each.status === "rejected")) {
    byId("problems").append(make("p", { class: "problem" }, `A document could not be read. ${reason.message}`));
  }
}

function tellEmptiness(http, websocket) {
  const missing = [websocket && !Object.keys(websocket.channels).length ? "no WebSocket endpoints" : null, http && !Object.keys(http.paths).length ? "no HTTP endpoints" : null].filter(Boolean);
  if (missing.length) byId("about").after(make("p", { class: "told", id: "emptiness" }, `This application has ${missing.join(" and ")} that documents tell of.`));
}

/** On a narrow screen the contents are closed until they are wanted. */
function foldContents() {
  const narrow = matchMedia("(max-width: 760px)");
  const fold = () => { byId("menu").open = !narrow.matches; };
  narrow.addEventListener("change", fold);
  byId("contents").addEventListener("click", () => { if (narrow.matches) byId("menu").open = false; });
  fold();
}

async function begin() {
  chooseTheme(byId("theme"));
  foldContents();
  const outcomes = await Promise.allSettled([load("openapi.json"), load("asyncapi.json"), load("docs/close-codes.json")]);
  tellFailures(outcomes);
  const [http, websocket, codes] = outcomes.map((each) => each.value);
  if (codes) learnCloseCodes(codes);
  const info = (http ?? websocket)?.info;
  if (info) {
    document.title = byId("title").textContent = info.title;
    byId("about").append(`Version ${info.version} · `, make("a", { href: "openapi.json" }, "OpenAPI"), " · ", make("a", { href: "asyncapi.json" }, "AsyncAPI"));
  }
  tellEmptiness(http, websocket);
  const channels = Object.keys(websocket?.channels ?? {}).map((key) => channelOf(websocket, key));
  const takesToken = channels.some((channel) => channel.protocols.includes("wireloom.bearer"));
  askForCredentials(new Set([...Object.keys(http?.components?.securitySchemes ?? {}), ...(takesToken ? ["bearer"] : [])]));
  const groups = groupsOf(http, websocket).map(showGroup);
  byId("filter").addEventListener("input", (event) => filter(groups, event.target.value));
  byId("credentials").addEventListener("submit", (event) => event.preventDefault());
  byId("groups").setAttribute("aria-busy", "false");
  addEventListener("hashchange", openTarget);
  openTarget();
}

begin();
