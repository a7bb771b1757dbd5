/** The live console of a WebSocket endpoint: connect, send, see. Several may be open at once. */

import { credential } from "./credentials.js";
import { button, labelled, make, textInput } from "./dom.js";
import { javaScriptSocket, pythonSocket } from "./code.js";
import { Composer } from "./composer.js";
import { Log } from "./log.js";
import { ParameterFields, addressOf, base, socketAddressOf } from "./parameters.js";
import { snippetOf } from "./snippet.js";

export const BEARER = "wireloom.bearer";
const MIXED = "A page that came by TLS may not connect without it.";
const OWN_CODES = {
  1005: { meaning: "the connection was closed without a code" },
  1006: { meaning: "the connection was lost without a close frame" },
  1015: { meaning: "TLS failed" },
};
const STATES = { idle: "Not connected", connecting: "Connecting…", open: "Open", closing: "Closing…", closed: "Closed" };

let closeCodes = OWN_CODES;

/** Takes in what the server's close codes mean: code → `{ meaning, come_back }`. */
export function learnCloseCodes(codes) {
  closeCodes = { ...OWN_CODES, ...codes };
}

function meaningOf(code) {
  const known = closeCodes[code];
  if (!known) return code >= 3000 ? "a code of the application's own" : "a code without a meaning here";
  return known.come_back ? `${known.meaning}; clients come back` : known.meaning;
}

export class Console {
  /**
   * @param about `path` (a template; undefined: it is asked for), `parameters`, `protocols` (undefined: any may be tried),
   *   `guarded` (whether a login is needed) and `messages` for the composer.
   */
  constructor(root, about) {
    this.about = about;
    this.socket = null;
    this.takesToken = about.protocols === undefined || about.protocols.includes(BEARER);
    this.spoken = about.protocols?.filter((name) => name !== BEARER);
    const changed = () => this.changed();
    this.log = new Log(about.path ?? "any path");
    this.parameters = new ParameterFields(root, about.parameters, changed);
    this.makeInputs(changed);
    this.composer = new Composer(root, about.messages, { send: (message) => this.send(message), changed, tell: (text) => this.tell(text, true) });
    this.snippet = snippetOf([["Python", () => this.code(pythonSocket)], ["JavaScript", () => this.code(javaScriptSocket)]]);
    this.element = make("section", { class: "console try", "aria-label": `Live console of ${about.path ?? "any path"}` },
      make("div", { class: "top" }, make("h3", {}, "Live console"), this.badge), this.connection(), this.told, this.composer.element, this.log.element, this.snippet.element);
    this.setState("idle");
    this.changed();
  }

  makeInputs(changed) {
    this.path = this.about.path === undefined ? textInput({ value: "/", oninput: changed }) : null;
    this.token = this.takesToken ? make("input", { type: "password", autocomplete: "off", spellcheck: "false", oninput: changed, placeholder: this.about.protocols && "that of the page" }) : null;
    this.protocols = this.spoken === undefined || this.spoken.length ? textInput({ oninput: changed, placeholder: this.spoken?.join(", ") ?? "" }) : null;
    this.badge = make("span", { class: "badge", role: "status" });
    this.address = make("code", { class: "address" });
    this.told = make("p", { class: "outcome", role: "status" });
    this.connect = make("button", { type: "submit" }, "Connect");
    this.disconnect = button("Disconnect", () => this.close());
    this.closeCode = textInput({ value: "1000", inputmode: "numeric" });
    this.reason = textInput();
  }

  connection() {
    const inputs = [
      this.path ? labelled("Path and query", this.path) : null,
      this.protocols ? labelled("Subprotocols", this.protocols, this.spoken ? `Spoken here: ${this.spoken.join(", ")}` : "With commas between them.") : null,
      this.token ? labelled("Token of this connection", this.token, this.about.guarded ? "Needed. Sent as a subprotocol, never in the address." : "Sent as a subprotocol, never in the address.") : null,
    ].filter(Boolean);
    this.inputs = make("fieldset", { class: "bare" }, make("legend", { class: "unseen" }, "Connection"), this.parameters.element, inputs.length ? make("div", { class: "fields" }, inputs) : null);
    const ending = make("details", { class: "more" }, make("summary", {}, "Close with a code"), make("div", { class: "fields" }, labelled("Close code", this.closeCode, "1000, or 3000 to 4999."), labelled("Reason", this.reason)));
    return make("form", { class: "connection", autocomplete: "off", onsubmit: (event) => { event.preventDefault(); this.open(); } },
      this.inputs, this.address, make("div", { class: "actions" }, this.connect, this.disconnect), ending);
  }

  /** Where it connects, without the token. */
  target() {
    const path = this.path ? this.path.value.replace(/^(?!\/)/, "/") : this.parameters.fill(this.about.path);
    const protocols = this.protocols?.value.split(/[\s,]+/).filter(Boolean) ?? [];
    const token = this.takesToken ? this.token.value.trim().replace(/^bearer\s+/i, "") || (this.about.protocols ? credential("bearer") : "") : "";
    return { url: socketAddressOf(path), path, protocols, token };
  }

  changed() {
    this.address.textContent = this.target().url;
    this.snippet?.refresh();
  }

  setState(state) {
    this.state = state;
    this.badge.textContent = STATES[state];
    this.badge.dataset.state = state;
    const busy = state !== "idle" && state !== "closed";
    this.inputs.disabled = this.connect.disabled = busy;
    this.disconnect.disabled = !busy || state === "closing";
    this.connect.textContent = state === "closed" ? "Reconnect" : "Connect";
  }

  tell(text, bad = false) {
    this.told.textContent = text;
    this.told.classList.toggle("bad", bad);
  }

  open() {
    const missing = this.parameters.missing();
    if (missing.length) {
      this.tell(`Fill in ${missing.join(", ")} first.`, true);
      return;
    }
    const { url, protocols, token, path } = this.target();
    try {
      this.socket = new WebSocket(url, [...protocols, ...(token ? [BEARER, token] : [])]);
    } catch (error) {
      if (!(error instanceof DOMException)) throw error;
      this.tell(error.name === "SyntaxError" ? "A subprotocol or the token has characters that a handshake cannot carry, or is there twice." : `${error.message} ${MIXED}`, true);
      return;
    }
    this.tell("");
    this.log.note(`Connecting to ${url}`);
    this.setState("connecting");
    this.listen(this.socket, { path, protocols, token });
  }

  listen(socket, asked) {
    let opened = false;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      opened = true;
      this.setState("open");
      this.log.note(socket.protocol && socket.protocol !== BEARER ? `Open, with the subprotocol ${socket.protocol}` : "Open");
    };
    socket.onmessage = ({ data }) => this.log.add(typeof data === "string" ? { direction: "received", text: data } : { direction: "received", bytes: new Uint8Array(data) });
    socket.onclose = (event) => {
      this.setState("closed");
      if (opened) this.closed(event);
      else this.refused(asked);
    };
  }

  closed({ code, reason, wasClean }) {
    const said = `Closed with ${code}${reason ? ` “${reason}”` : ""}: ${meaningOf(code)}`;
    this.log.note(said, { bad: !wasClean || ![1000, 1001, 1005].includes(code) });
  }

  /** Browsers do not say why a handshake failed. A declared path can be asked over HTTP what it is. */
  async refused({ path, protocols, token }) {
    const causes = [];
    if (this.about.parameters.length) causes.push("A parameter does not fit its type (404 or 400).");
    if (this.about.guarded) causes.push(token ? "The token is wrong or has expired, or its user may not come in (401 or 403)." : "It needs a token, and none was given (401).");
    if (protocols.length) causes.push(`None of the subprotocols offered is spoken here${this.spoken?.length ? `; these are: ${this.spoken.join(", ")}` : ""}.`);
    if (token && this.about.protocols === undefined) causes.push("The endpoint takes no token as a subprotocol.");
    causes.push("The application refuses it in its handshake, or does not allow this page’s origin (403).", "The server is full, or about to stop (503).");
    const found = this.about.path === undefined ? ["There is nothing at this path (404).", "The server cannot be reached."] : await this.ask(path);
    this.log.note("The handshake failed. Browsers do not say why; likely causes:", { bad: true, more: [...found, ...(found.length === 1 && found[0].startsWith("The server cannot") ? [] : causes)] });
  }

  async ask(path) {
    try {
      const response = await fetch(addressOf(path), { credentials: "same-origin" });
      return response.status === 404 ? ["The server has nothing at this path: 404."] : [];
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      return [`The server cannot be reached at ${base.host}.`];
    }
  }

  send(message) {
    if (this.socket?.readyState !== WebSocket.OPEN) {
      this.tell("Not connected: connect first.", true);
      return false;
    }
    this.tell("");
    this.socket.send(message.bytes ?? message.text);
    this.log.add(message.bytes ? { direction: "sent", bytes: message.bytes } : { direction: "sent", text: message.text });
    return true;
  }

  close() {
    try {
      this.socket.close(Number(this.closeCode.value), this.reason.value);
      this.tell("");
      this.setState("closing");
    } catch (error) {
      if (!(error instanceof DOMException)) throw error;
      this.tell(error.name === "SyntaxError" ? "A reason has at most 123 bytes." : "Pages may close with 1000, or with 3000 to 4999.", true);
    }
  }

  code(write) {
    const { url, protocols, token } = this.target();
    let message;
    try {
      message = this.composer.message();
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      return `${error.message}\n`;
    }
    return write({ url, protocols, token: Boolean(token) || this.about.guarded, message });
  }
}
