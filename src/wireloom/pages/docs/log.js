/** The log of a console's frames. Law: its memory is bounded, in frames and in bytes; it says what it has dropped. */

import { button, copy, announce, download, labelled, make, pretty, sizeOf, textInput } from "./dom.js";

export const MAX_FRAMES = 1000;
const MAX_BYTES = 16 * 1024 * 1024; // of all frames that are kept
const MAX_FRAME_BYTES = 1024 * 1024; // of one; more of it is cut
const MAX_PRETTY = 256 * 1024;
const LINE = 200; // characters
const DRAW_MS = 60; // between two drawings, at least
const DRAW_SHARE = 4; // and so many times as long as the last one took: a flood leaves time for everything else
const ANNOUNCE_MS = 3000;
const ARROWS = { sent: "↑", received: "↓", note: "·" };
const WORDS = { sent: "sent", received: "received", note: "note" };

const timeOf = (at) => {
  const time = new Date(at);
  const pad = (number, digits = 2) => String(number).padStart(digits, "0");
  return `${pad(time.getHours())}:${pad(time.getMinutes())}:${pad(time.getSeconds())}.${pad(time.getMilliseconds(), 3)}`;
};

/** Bytes as people read them: sixteen to a line. */
function dumpOf(bytes) {
  const lines = [];
  for (let at = 0; at < bytes.length && at < 4096; at += 16) {
    const row = bytes.subarray(at, at + 16);
    const hex = Array.from(row, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
    lines.push(`${at.toString(16).padStart(4, "0")}  ${hex.padEnd(47)}  ${Array.from(row, (byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : ".")).join("")}`);
  }
  return lines.join("\n") + (bytes.length > 4096 ? "\n…" : "");
}

const base64Of = (bytes) => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));

/** What kind of message a text is: by its tag, JSON, or text. */
function kindOf(text) {
  if (text.length > MAX_PRETTY) return "text";
  try {
    const value = JSON.parse(text);
    return typeof value?.type === "string" ? value.type.slice(0, 30) : "JSON";
  } catch {
    return "text";
  }
}

export class Log {
  constructor(name) {
    this.name = name;
    this.frames = [];
    this.bytes = 0;
    this.dropped = 0;
    this.count = 0;
    this.drawn = 0; // the number of the last frame that was looked at
    this.timer = null;
    this.took = 0; // milliseconds that the last drawing took
    this.paused = false;
    this.unheard = 0;
    this.list = make("ol", { class: "frames", hidden: true, tabindex: "0", "aria-label": `Frames of ${name}` });
    this.empty = make("p", { class: "told empty" }, "Nothing was sent or received yet.");
    this.told = make("p", { class: "hint counted" });
    this.search = textInput({ type: "search", oninput: () => this.redraw() });
    this.direction = make("select", { onchange: () => this.redraw() }, [["", "All"], ["sent", "Sent"], ["received", "Received"], ["note", "Notes"]].map(([value, text]) => make("option", { value }, text)));
    this.pause = button("Pause scrolling", () => this.setPaused(!this.paused), { "aria-pressed": "false" });
    this.copy = button("Copy", async () => announce((await copy(this.text())) ? "Copied" : "Not allowed here"));
    const tools = [this.pause, button("Clear", () => this.clear()), this.copy, button("Download", () => download("frames.json", [this.json()], "application/json"))];
    this.element = make("div", { class: "log" },
      make("div", { class: "tools" }, labelled("Find in frames", this.search), labelled("Show", this.direction), make("div", { class: "actions" }, tools)), this.empty, this.list, this.told);
    this.list.addEventListener("wheel", (event) => { if (event.deltaY < 0 && this.list.scrollTop > 0) this.setPaused(true); }, { passive: true });
  }

  /** Adds a frame: `direction`, `text` or `bytes`, for notes `bad` and `more`. */
  add(frame) {
    const size = frame.size ?? frame.bytes?.length ?? new TextEncoder().encode(frame.text).length;
    const cut = size > MAX_FRAME_BYTES && frame.direction !== "note";
    const kept = cut ? { ...frame, text: frame.text?.slice(0, MAX_FRAME_BYTES), bytes: frame.bytes?.slice(0, MAX_FRAME_BYTES) } : frame;
    this.frames.push({ ...kept, cut, size, at: Date.now(), number: (this.count += 1) });
    this.bytes += Math.min(size, MAX_FRAME_BYTES);
    if (frame.direction === "received") this.unheard += 1;
    while (this.frames.length > MAX_FRAMES || this.bytes > MAX_BYTES) {
      this.bytes -= Math.min(this.frames.shift().size, MAX_FRAME_BYTES);
      this.dropped += 1;
    }
    this.timer ??= setTimeout(() => this.draw(), Math.max(DRAW_MS, DRAW_SHARE * this.took));
  }

  note(text, more = {}) {
    this.add({ direction: "note", text, ...more });
  }

  setPaused(paused) {
    this.paused = paused;
    this.pause.setAttribute("aria-pressed", String(paused));
    if (!paused) this.list.scrollTop = this.list.scrollHeight;
  }

  clear() {
    this.frames = [];
    this.bytes = this.dropped = 0;
    this.redraw();
  }

  redraw() {
    this.list.replaceChildren();
    this.drawn = 0;
    this.draw();
  }

  /** Draws what has come since it was last drawn, and takes away what was dropped. */
  draw() {
    const began = performance.now();
    clearTimeout(this.timer);
    this.timer = null;
    const first = this.frames[0]?.number ?? this.count + 1;
    while (this.list.firstElementChild && Number(this.list.firstElementChild.dataset.number) < first) this.list.firstElementChild.remove();
    const fresh = this.frames.slice(Math.max(0, this.drawn + 1 - first)).filter((frame) => this.shows(frame));
    this.list.append(...fresh.map((frame) => this.row(frame)));
    this.drawn = this.count;
    this.empty.hidden = this.frames.length > 0;
    this.list.hidden = this.frames.length === 0;
    this.told.textContent = this.countText();
    if (!this.paused) this.list.scrollTop = this.list.scrollHeight;
    this.took = performance.now() - began;
    this.announce();
  }

  countText() {
    if (!this.frames.length && !this.dropped) return "";
    const shown = this.list.childElementCount;
    const of = shown === this.frames.length ? `${shown} frames` : `${shown} of ${this.frames.length} frames`;
    return this.dropped ? `${of}; ${this.dropped} older dropped, for ${MAX_FRAMES} are kept` : of;
  }

  /** Tells screen readers how many came, now and then, while somebody is in this console. */
  announce() {
    if (this.speaking || !this.unheard || !this.element.parentElement?.contains(document.activeElement)) return;
    this.speaking = setTimeout(() => {
      this.speaking = null;
      announce(`${this.unheard} received`);
      this.unheard = 0;
    }, ANNOUNCE_MS);
  }

  shows(frame) {
    const wanted = this.search.value.toLowerCase();
    if (this.direction.value && frame.direction !== this.direction.value) return false;
    return !wanted || this.lineOf(frame, Infinity).toLowerCase().includes(wanted);
  }

  lineOf(frame, length = LINE) {
    const text = frame.text ?? Array.from(frame.bytes.subarray(0, Math.min(length, frame.bytes.length)), (byte) => byte.toString(16).padStart(2, "0")).join(" ");
    return text.length > length ? `${text.slice(0, length)}…` : text;
  }

  row(frame) {
    const data = { class: `frame ${frame.direction}${frame.bad ? " bad" : ""}`, "data-number": frame.number };
    const head = [make("span", { class: "arrow", role: "img", "aria-label": WORDS[frame.direction] }, ARROWS[frame.direction]), make("time", {}, timeOf(frame.at))];
    if (frame.direction === "note") return make("li", data, make("div", { class: "head" }, head, make("span", { class: "said" }, frame.text, frame.more ? make("ul", {}, frame.more.map((each) => make("li", {}, each))) : null)));
    const kind = frame.bytes ? "binary" : kindOf(frame.text);
    const details = make("details", {}, make("summary", { class: "head" }, head, make("span", { class: "said line" }, this.lineOf(frame)), make("span", { class: "about" }, `${kind} · ${sizeOf(frame.size)}`)));
    details.addEventListener("toggle", () => { if (details.open && details.children.length === 1) details.append(this.inside(frame)); });
    return make("li", data, details);
  }

  inside(frame) {
    const text = frame.bytes ? dumpOf(frame.bytes) : frame.text.length <= MAX_PRETTY ? pretty(frame.text) : frame.text;
    return make("div", {}, make("pre", { tabindex: "0", "aria-label": `Frame ${frame.number}` }, text), frame.cut ? make("p", { class: "hint" }, `Cut: ${sizeOf(frame.size)} in all.`) : null);
  }

  text() {
    return this.frames.filter((frame) => this.shows(frame)).map((frame) => `${timeOf(frame.at)} ${ARROWS[frame.direction]} ${this.lineOf(frame, Infinity)}`).join("\n");
  }

  json() {
    const entries = this.frames.map(({ direction, at, size, cut, text, bytes }) => ({ direction, time: new Date(at).toISOString(), size, ...(cut ? { cut } : {}), ...(bytes ? { base64: base64Of(bytes) } : { text }) }));
    return JSON.stringify(entries, null, 1);
  }
}
