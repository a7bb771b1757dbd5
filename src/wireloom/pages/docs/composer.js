/** What a console sends next: a choice of messages, an editor for each, and what was sent before. */

import { button, labelled, make, sizeOf } from "./dom.js";
import { Editor } from "./editor.js";
import { sampleOf } from "./schema.js";

const MAX_HISTORY = 100;
const RAW = [{ key: "raw:text", label: "Text, as it is", kind: "text" }, { key: "raw:binary", label: "Binary", kind: "binary" }];

/** A text area and its kind of message. */
class TextEditor {
  constructor(changed) {
    this.area = make("textarea", { rows: 4, spellcheck: "false", autocomplete: "off", "aria-label": "Text", oninput: changed });
    this.element = make("div", { class: "editor" }, this.area);
  }

  message() {
    return { kind: "text", text: this.area.value };
  }

  draft() {
    return this.area.value;
  }

  restore(text) {
    this.area.value = text;
  }
}

const ENCODINGS = {
  hex: (text) => {
    const digits = text.replace(/\s|0x/g, "");
    if (digits.length % 2 || !/^[0-9a-fA-F]*$/.test(digits)) throw new SyntaxError("Hex is pairs of 0–9 and a–f.");
    return Uint8Array.from(digits.match(/../g) ?? [], (pair) => parseInt(pair, 16));
  },
  base64: (text) => {
    try {
      return Uint8Array.from(atob(text.replace(/\s/g, "").replaceAll("-", "+").replaceAll("_", "/")), (character) => character.charCodeAt(0));
    } catch (error) {
      if (!(error instanceof DOMException)) throw error;
      throw new SyntaxError("This is no base64.");
    }
  },
};

class BinaryEditor {
  constructor(changed) {
    this.file = null;
    this.encoding = make("select", { onchange: changed }, Object.keys(ENCODINGS).map((name) => make("option", { value: name }, name)));
    this.area = make("textarea", { rows: 3, spellcheck: "false", autocomplete: "off", oninput: changed });
    this.input = make("input", { type: "file", onchange: () => this.take(changed) });
    this.clear = button("Remove the file", () => { this.drop(); changed(); }, { hidden: true });
    this.told = make("p", { class: "hint", role: "status" });
    this.element = make("div", { class: "editor" }, make("div", { class: "fields" }, labelled("Encoding", this.encoding), labelled("or a file", this.input)), labelled("Bytes", this.area), make("div", { class: "actions" }, this.told, this.clear));
  }

  async take(changed) {
    const [file] = this.input.files;
    if (!file) return this.drop();
    this.file = new Uint8Array(await file.arrayBuffer());
    this.told.textContent = `${file.name}, ${sizeOf(this.file.length)}`;
    this.area.disabled = true;
    this.clear.hidden = false;
    changed();
  }

  drop() {
    this.file = null;
    this.input.value = "";
    this.told.textContent = "";
    this.area.disabled = false;
    this.clear.hidden = true;
  }

  /** Throws a SyntaxError where the text is not in the encoding. */
  message() {
    return { kind: "binary", bytes: this.file ?? ENCODINGS[this.encoding.value](this.area.value) };
  }

  draft() {
    return [this.encoding.value, this.area.value];
  }

  restore([encoding, text]) {
    this.drop();
    this.encoding.value = encoding;
    this.area.value = text;
  }
}

class MessageEditor {
  constructor(root, { schema, sample, label }, changed) {
    this.editor = new Editor(root, schema, label, changed, sample);
    this.element = this.editor.element;
  }

  message() {
    return { kind: "json", text: this.editor.payload() };
  }

  draft() {
    return this.editor.text();
  }

  restore(text) {
    this.editor.write(text);
  }
}

export class Composer {
  /** @param messages `{ key, label, kind, schema, summary }` of the endpoint; texts and bytes can be sent to any.
   * @param send called with a message, says whether it was sent. */
  constructor(root, messages, { send, changed, tell }) {
    this.root = root;
    this.choices = [...messages, ...RAW];
    this.callbacks = { send, changed, tell };
    this.editors = new Map();
    this.history = [];
    this.at = 0; // where in the history; its length: what is being written
    this.select = make("select", { onchange: () => this.show() }, this.choices.map(({ key, label }) => make("option", { value: key }, label)));
    this.summary = make("p", { class: "told" });
    this.place = make("div", {});
    const hint = make("p", { class: "hint" }, make("kbd", {}, "Ctrl"), " ", make("kbd", {}, "Enter"), " sends, ", make("kbd", {}, "↑"), " ", make("kbd", {}, "↓"), " bring back what was sent");
    this.element = make("form", { class: "composer", autocomplete: "off", onsubmit: (event) => { event.preventDefault(); this.send(); }, onkeydown: (event) => this.key(event) },
      labelled("Message", this.select), this.summary, this.place, make("div", { class: "actions" }, make("button", { type: "submit" }, "Send"), hint));
    this.show();
  }

  get editor() {
    const chosen = this.choices.find(({ key }) => key === this.select.value);
    if (!this.editors.has(chosen.key)) {
      const changed = () => { this.at = this.history.length; this.callbacks.changed(); };
      const made = chosen.kind === "json" ? new MessageEditor(this.root, chosen, changed) : chosen.kind === "binary" ? new BinaryEditor(changed) : new TextEditor(changed);
      this.editors.set(chosen.key, made);
    }
    return this.editors.get(chosen.key);
  }

  show() {
    this.summary.textContent = this.choices.find(({ key }) => key === this.select.value).summary ?? "";
    this.place.replaceChildren(this.editor.element);
    this.callbacks.changed();
  }

  /** What would be sent now. Throws a SyntaxError where it cannot be. */
  message() {
    return this.editor.message();
  }

  send() {
    let message;
    try {
      message = this.message();
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      this.callbacks.tell(error.message);
      return;
    }
    if (!this.callbacks.send(message)) return;
    const sent = { key: this.select.value, draft: this.editor.draft() };
    if (JSON.stringify(sent) !== JSON.stringify(this.history.at(-1))) this.history.push(sent);
    if (this.history.length > MAX_HISTORY) this.history.shift();
    this.at = this.history.length;
  }

  key(event) {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      this.send();
    } else if ((event.key === "ArrowUp" || event.key === "ArrowDown") && isAtEdge(event)) {
      if (this.recall(event.key === "ArrowUp" ? -1 : 1)) event.preventDefault();
    }
  }

  /** Brings back what was sent, by steps; one past the last is what was being written. */
  recall(step) {
    const to = this.at + step;
    if (to < 0 || to > this.history.length) return false;
    if (this.at === this.history.length) {
      try {
        this.writing = { key: this.select.value, draft: this.editor.draft() };
      } catch (error) {
        if (!(error instanceof SyntaxError)) throw error;
        return false;
      }
    }
    const { key, draft } = this.history[to] ?? this.writing;
    this.select.value = key;
    this.editor.restore(draft);
    this.show();
    this.at = to;
    this.place.querySelector("textarea, input[type=text]")?.focus();
    return true;
  }
}

/** Whether an arrow key has no line to go to within its text. */
function isAtEdge({ target, key, altKey }) {
  if (altKey) return true;
  if (target instanceof HTMLInputElement) return target.type === "text";
  if (!(target instanceof HTMLTextAreaElement) || target.selectionStart !== target.selectionEnd) return false;
  const beside = key === "ArrowUp" ? target.value.slice(0, target.selectionStart) : target.value.slice(target.selectionEnd);
  return !beside.includes("\n");
}

/** The messages that a channel's clients send, for a composer. */
export function choicesOf(root, messages) {
  return messages.map(({ key, message }) => {
    const type = message.contentType ?? root.defaultContentType;
    const kind = type === "application/octet-stream" ? "binary" : type === "text/plain" ? "text" : "json";
    return { key: `message:${key}`, label: message.name, kind, schema: message.payload, summary: message.summary, sample: kind === "json" ? beginningOf(root, message.payload) : undefined };
  });
}

/** A value to begin with; a call of a walker asks for its reports, for someone is there to read them. */
function beginningOf(root, schema) {
  const sample = sampleOf(root, schema, { lean: true });
  return schema.properties?.walker?.const && "response" in schema.properties ? { ...sample, response: true } : sample;
}
