/** An editor of one JSON value: a form made from its schema, and its text; one value, two ways to write it. */

import { freshId, make, switchOf } from "./dom.js";
import { fieldOf, members } from "./form.js";
import { problemsOf, propertiesOf, resolve, sampleOf } from "./schema.js";

const MAX_ROWS = 18;
const ROUNDED = /(^|[^\w."])-?\d{16,}/; // a number that JavaScript may not hold exactly

export class Editor {
  /**
   * @param label what the text is called.
   * @param changed called when the value has changed.
   * @param sample the value to begin with.
   */
  constructor(root, schema, label, changed, sample = sampleOf(root, schema, { lean: true })) {
    this.root = root;
    this.schema = schema;
    this.label = label;
    this.changed = () => { this.check(); changed(); };
    this.field = null;
    this.mode = "json";
    this.area = make("textarea", { spellcheck: "false", autocomplete: "off", class: "json", "aria-label": label, oninput: this.changed });
    this.problems = make("ul", { class: "problems", id: freshId("problems"), "aria-label": "Hints" });
    this.told = make("p", { class: "hint", role: "status" });
    this.area.setAttribute("aria-describedby", this.problems.id);
    this.place = make("div", { class: "editing" });
    this.switch = switchOf(`Edit ${label} as`, [["form", "Form"], ["json", "JSON"]], "form", (mode) => this.show(mode));
    this.element = make("div", { class: "editor" }, hasForm(root, schema) ? this.switch.element : null, this.place, this.told, this.problems);
    this.write(JSON.stringify(sample, null, 2));
    this.show(hasForm(root, schema) ? "form" : "json");
  }

  /** The JSON text. Throws a SyntaxError where a part of the form is none. */
  text() {
    return this.mode === "json" ? this.area.value : JSON.stringify(this.field.read() ?? null, null, 2);
  }

  /** What is sent: the text as it was written, or the form's value without white space. */
  payload() {
    return this.mode === "json" ? this.area.value : JSON.stringify(this.field.read() ?? null);
  }

  /** Takes a JSON text; goes to the text where the form cannot show it. */
  write(text) {
    this.area.value = text;
    this.area.rows = Math.min(MAX_ROWS, Math.max(3, text.split("\n").length));
    if (this.mode === "form" && !this.fillForm(text)) this.show("json");
    this.check();
  }

  /** Shows the form or the text, with the same value. */
  show(mode) {
    this.told.textContent = "";
    if (mode === "json" && this.mode === "form") this.leaveForm();
    if (mode === "form" && !this.fillForm(this.area.value)) mode = "json";
    this.mode = mode;
    this.switch.choose(mode);
    this.place.replaceChildren(mode === "form" ? this.field.element : this.area);
    this.check();
  }

  leaveForm() {
    try {
      const text = this.text();
      this.mode = "json";
      this.write(text);
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      this.told.textContent = `${error.message}; the text is as it was before.`;
    }
  }

  fillForm(text) {
    if (ROUNDED.test(text)) {
      this.told.textContent = "The form would round a number of so many digits.";
      return false;
    }
    try {
      const value = JSON.parse(text);
      this.field ??= this.makeField();
      if (this.field.write(value)) return true;
      this.told.textContent = "The form cannot show this value: it has other members or kinds than the type, or a text of several lines.";
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      this.told.textContent = `This is no JSON: ${error.message}`;
    }
    return false;
  }

  makeField() {
    const whole = resolve(this.root, this.schema);
    const about = { name: this.label, required: true, changed: this.changed };
    return propertiesOf(whole).length && !whole.anyOf && !whole.oneOf ? members(this.root, whole, { ...about, bare: true }) : fieldOf(this.root, this.schema, about);
  }

  /** Says what does not fit the schema. It may be sent all the same: the server decides. */
  check() {
    let problems;
    try {
      problems = problemsOf(this.root, this.schema, JSON.parse(this.text()));
    } catch (error) {
      if (!(error instanceof SyntaxError || error instanceof RangeError)) throw error;
      problems = [["", error instanceof SyntaxError ? `This is no JSON: ${error.message}` : "Nested too deeply."]];
    }
    this.problems.replaceChildren(...problems.map(([path, message]) => make("li", {}, path ? make("code", {}, path) : null, path ? " " : null, message)));
    this.area.setAttribute("aria-invalid", String(problems.length > 0));
  }
}

function hasForm(root, schema) {
  const whole = resolve(root, schema);
  return ["type", "anyOf", "oneOf", "enum", "const", "properties"].some((key) => key in whole) && !(whole.type === "object" && !propertiesOf(whole).length);
}
