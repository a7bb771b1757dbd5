/** What the modules of this page draw with. Law: a text is always text, never markup. */

let made = 0;

export const byId = (id) => document.getElementById(id);

/** An id that nothing else on the page has. */
export const freshId = (prefix) => `${prefix}-${(made += 1)}`;

/** An element with attributes, listeners (`onclick`) and children. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === undefined || value === null) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

function drawing(className, label, path) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const attributes = { class: className, viewBox: "0 0 16 16", role: "img", "aria-label": label };
  for (const [name, value] of Object.entries(attributes)) svg.setAttribute(name, value);
  const title = document.createElementNS(svg.namespaceURI, "title");
  title.textContent = label;
  const line = document.createElementNS(svg.namespaceURI, "path");
  line.setAttribute("d", path);
  svg.append(title, line);
  return svg;
}

export const lock = (label) => drawing("lock", label, "M3.5 7.5h9v6h-9zM5.5 7.5v-2a2.5 2.5 0 0 1 5 0v2");

/** A path template with its parameters marked. */
export function pathOf(template) {
  const parts = template.split(/(\{[^}]+\})/).filter(Boolean);
  return make("span", { class: "path" }, parts.map((part) => (part[0] === "{" ? make("span", { class: "parameter" }, part) : part)));
}

/** A part of an entry under its heading. */
export const titled = (title, note, ...inner) => make("div", { class: "part" }, make("h3", {}, title, note ? make("span", {}, ` ${note}`) : null), inner);

/** A label above its input. */
export function labelled(text, input, hint = "") {
  input.id ||= freshId("input");
  const told = hint ? make("span", { class: "hint", id: freshId("hint") }, hint) : null;
  if (told) input.setAttribute("aria-describedby", told.id);
  return make("div", { class: "field" }, make("label", { for: input.id }, text), input, told);
}

export const textInput = (attributes = {}) => make("input", { type: "text", autocomplete: "off", spellcheck: "false", ...attributes });

export const button = (text, onclick, attributes = {}) => make("button", { type: "button", class: "plain", onclick, ...attributes }, text);

/** Options of which one is chosen: radio buttons that look like one switch. */
export function switchOf(label, options, chosen, onchange) {
  const name = freshId("switch");
  const inputs = options.map(([value, text]) => {
    const input = make("input", { type: "radio", name, value, id: freshId("option"), onchange: () => onchange(value) });
    input.checked = value === chosen;
    return [input, make("label", { for: input.id }, text)];
  });
  const element = make("div", { class: "switch", role: "radiogroup", "aria-label": label }, inputs);
  return { element, choose: (value) => inputs.forEach(([input]) => { input.checked = input.value === value; }) };
}

/** Tells those who listen to the page instead of looking at it. */
export function announce(text) {
  byId("announcements").textContent = text;
}

/** Puts a text on the clipboard; pages without TLS have only the older way. */
export async function copy(text) {
  if (navigator.clipboard) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch (error) {
      if (!(error instanceof DOMException)) throw error;
    }
  }
  const area = make("textarea", { class: "unseen", "aria-hidden": "true", tabindex: "-1" });
  area.value = text;
  const focused = document.activeElement;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  focused?.focus();
  return done;
}

export function copyButton(text, read) {
  const told = button(text, async () => {
    const done = await copy(read());
    told.textContent = done ? "Copied" : "Not allowed here";
    announce(told.textContent);
    setTimeout(() => { told.textContent = text; }, 1500);
  });
  return told;
}

export function download(name, parts, type) {
  const url = URL.createObjectURL(new Blob(parts, { type }));
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

export function sizeOf(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  return bytes < 1024 * 1024 ? `${(bytes / 1024).toFixed(1)} KiB` : `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
}

export const bytesIn = (text) => new TextEncoder().encode(text).length;

/** A text as indented JSON, or as it is. */
export function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof RangeError) return text; // no JSON, or nested too deeply
    throw error;
  }
}
