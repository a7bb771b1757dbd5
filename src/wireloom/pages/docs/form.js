/** A form made from a schema.
 *
 * A field has an `element`, `read()` (undefined: it is not there) and `write(value)`, which says whether the form can show
 * that value.
 */

import { button, freshId, make, textInput } from "./dom.js";
import { armsOf, kindOf, limitsOf, problemsOf, propertiesOf, resolve, sampleOf, tupleOf } from "./schema.js";

const NOT_SET = "not set";

/** The field of a schema.
 * @param about `name`, `required`, `changed`, which is called when the value has changed, `inside` of a union, and `added` by hand.
 */
export function fieldOf(root, schema, about) {
  const whole = resolve(root, schema);
  if ("const" in whole) return constant(whole, about);
  if (whole.enum) return choice(whole.enum, whole, about);
  const arms = armsOf(whole);
  if (arms) return fieldOfArms(root, schema, whole, arms, about);
  const kind = whole.type ?? (whole.properties ? "object" : "anything");
  if (kind === "object" && propertiesOf(whole).length) return about.required ? members(root, whole, about) : addable(root, schema, about);
  if (kind === "array" && tupleOf(whole)) return about.required ? tuple(root, whole, about) : addable(root, schema, about);
  if (kind === "array" && whole.items) return list(root, whole, about);
  const simple = { string: text, integer: number, number, boolean: truth, null: () => constant({ ...whole, const: null }, about) }[kind];
  return simple ? simple(root, whole, about) : json(root, whole, about);
}

/** A value that may be null is one that may be missing, where missing means null. */
function fieldOfArms(root, schema, whole, arms, about) {
  const others = arms.filter((arm) => arm.type !== "null");
  if (others.length === 1 && others.length < arms.length && !about.required && whole.default === null) {
    const field = fieldOf(root, whole.description ? { description: whole.description, allOf: [others[0]] } : others[0], about);
    return { ...field, write: (value) => field.write(value === null ? undefined : value) };
  }
  return union(root, whole, arms, about);
}

/** A label, what is known of the value, and its input. */
function line(root, whole, about, input) {
  input.id ||= freshId("field");
  const notes = [about.kind ?? kindOf(root, whole), limitsOf(whole)].filter(Boolean).join(", ");
  const hint = whole.description ? make("span", { class: "hint", id: freshId("hint") }, whole.description) : null;
  if (hint) input.setAttribute("aria-describedby", hint.id);
  return make("div", { class: "field" },
    make("div", { class: "labels" }, make("label", { for: input.id }, about.name), about.required ? make("span", { class: "must" }, "required") : null, make("span", { class: "kind" }, notes)),
    input, hint);
}

/** One line; a text of several is for the JSON. */
function text(root, whole, about) {
  let empty = about.required; // whether nothing typed is an empty text or no text
  const input = textInput({ oninput: () => { empty = about.required; about.changed(); } });
  return {
    element: line(root, whole, about, input),
    read: () => (input.value === "" && !empty ? undefined : input.value),
    write: (value) => {
      input.value = typeof value === "string" ? value : "";
      empty = about.required || value === "";
      return value === undefined || input.value === value;
    },
  };
}

function number(root, whole, about) {
  const input = textInput({ inputmode: whole.type === "integer" ? "numeric" : "decimal", oninput: about.changed });
  const isNumber = (typed) => /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/.test(typed) && Number.isFinite(Number(typed));
  return {
    element: line(root, whole, about, input),
    read: () => {
      const typed = input.value.trim();
      if (typed === "") return undefined;
      return isNumber(typed) ? Number(typed) : typed; // the hints say that it is no number
    },
    write: (value) => {
      input.value = value === undefined ? "" : String(value);
      return value === undefined || typeof value === "number";
    },
  };
}

function truth(root, whole, about) {
  if (!about.required) return choice([true, false], whole, { ...about, kind: "boolean" });
  const input = make("input", { type: "checkbox", id: freshId("field"), onchange: about.changed });
  return {
    element: make("div", { class: "field check" }, input, make("label", { for: input.id }, about.name), whole.description ? make("span", { class: "hint" }, whole.description) : null),
    read: () => input.checked,
    write: (value) => {
      input.checked = value === true;
      return typeof value === "boolean" || value === undefined;
    },
  };
}

/** A value that is always the same; where it is not required, it may be missing. */
function constant(whole, about) {
  const text = typeof whole.const === "string" ? whole.const : JSON.stringify(whole.const);
  if (!about.required) return choice([whole.const], whole, about);
  return {
    element: make("p", { class: "field constant" }, make("span", { class: "name" }, about.name), " ", make("code", {}, text), whole.description ? make("span", { class: "hint" }, ` ${whole.description}`) : null),
    read: () => whole.const,
    write: (value) => value === undefined || JSON.stringify(value) === JSON.stringify(whole.const),
  };
}

function choice(values, whole, about) {
  const options = values.map((value, index) => make("option", { value: String(index) }, typeof value === "string" ? value : JSON.stringify(value)));
  const select = make("select", { onchange: about.changed }, about.required ? [] : make("option", { value: "" }, NOT_SET), options);
  return {
    element: line({}, whole, { ...about, kind: about.kind ?? ("one of these") }, select),
    read: () => (select.value === "" ? undefined : values[Number(select.value)]),
    write: (value) => {
      const index = values.findIndex((each) => JSON.stringify(each) === JSON.stringify(value));
      select.value = index >= 0 ? String(index) : about.required ? "0" : "";
      return index >= 0 || value === undefined;
    },
  };
}

/** A value for which there is nothing better than its JSON. */
function json(root, whole, about) {
  const area = make("textarea", { rows: 2, spellcheck: "false", autocomplete: "off", oninput: about.changed });
  return {
    element: line(root, whole, { ...about, kind: `${kindOf(root, whole)}, as JSON` }, area),
    read: () => {
      if (area.value.trim() === "") return undefined;
      try {
        return JSON.parse(area.value);
      } catch {
        throw new SyntaxError(`${about.name} is no JSON`);
      }
    },
    write: (value) => {
      area.value = value === undefined ? "" : JSON.stringify(value, null, 1).replace(/\n\s*/g, " ");
      return true;
    },
  };
}

function group(about, hint, ...inner) {
  return make("fieldset", { class: "group" }, make("legend", {}, about.name, about.required && !about.added ? make("span", { class: "must" }, "required") : null), hint ? make("p", { class: "hint" }, hint) : null, inner);
}

/** The members of an object; `bare` has no frame. */
export function members(root, whole, about) {
  const required = whole.required ?? [];
  const fields = propertiesOf(whole).map(([name, schema]) => [name, fieldOf(root, schema, { name, required: required.includes(name), changed: about.changed, inside: about.inside })]);
  const elements = fields.map(([, field]) => field.element);
  return {
    element: about.bare ? make("div", { class: "group" }, elements) : group(about, whole.description, elements),
    read: () => Object.fromEntries(fields.map(([name, field]) => [name, field.read()]).filter(([, value]) => value !== undefined)),
    write: (value) => {
      const given = value !== null && typeof value === "object" && !Array.isArray(value) ? value : {};
      const shown = fields.map(([name, field]) => field.write(Object.hasOwn(given, name) ? given[name] : undefined));
      const known = Object.keys(given).every((name) => fields.some(([each]) => each === name));
      return shown.every(Boolean) && known && (given === value || value === undefined);
    },
  };
}

/** Something that is not there until it is asked for; made then, so that types may contain themselves. */
function addable(root, schema, about) {
  let field;
  const place = make("div", {});
  const add = button(`Add ${about.name}`, () => { show(); field.write(sampleOf(root, schema, { lean: true })); about.changed(); place.querySelector("input, select, textarea")?.focus(); });
  const remove = button(`Remove ${about.name}`, () => { hide(); about.changed(); add.focus(); });
  const show = () => {
    field ??= fieldOf(root, schema, { ...about, required: true, added: true });
    place.replaceChildren(field.element, remove);
    add.hidden = true;
  };
  const hide = () => {
    field = undefined;
    place.replaceChildren();
    add.hidden = false;
  };
  return {
    element: make("div", { class: "addable" }, add, place),
    read: () => field?.read(),
    write: (value) => {
      hide();
      if (value === undefined) return true;
      show();
      return field.write(value);
    },
  };
}

/** An item that nothing was filled in for is null, which its field may not be able to show. */
const writeItem = (field, value) => field.write(value) || (value === null && field.write(undefined));

function list(root, whole, about) {
  let items = [];
  let there = about.required;
  const rows = make("ol", { class: "items" });
  const add = (value) => {
    const row = make("li", {});
    const item = { field: fieldOf(root, whole.items, { name: `${about.name} ${items.length + 1}`, required: true, changed: about.changed, inside: about.inside }) };
    const remove = button("Remove", () => {
      items = items.filter((each) => each !== item);
      row.remove();
      more.focus();
      about.changed();
    }, { "aria-label": `Remove from ${about.name}` });
    row.append(item.field.element, remove);
    rows.append(row);
    items.push(item);
    there = true;
    return writeItem(item.field, value);
  };
  const more = button(`Add to ${about.name}`, () => { add(sampleOf(root, whole.items, { lean: true })); rows.lastElementChild.querySelector("input, select, textarea")?.focus(); about.changed(); });
  return {
    element: group(about, [whole.description, `${kindOf(root, whole)}${limitsOf(whole) ? `, ${limitsOf(whole)}` : ""}`].filter(Boolean).join(" "), rows, more),
    read: () => (there ? items.map(({ field }) => field.read() ?? null) : undefined),
    write: (value) => {
      items = [];
      rows.replaceChildren();
      there = about.required || value !== undefined;
      if (value === undefined) return true;
      return Array.isArray(value) && value.map((item) => add(item)).every(Boolean);
    },
  };
}

function tuple(root, whole, about) {
  const fields = tupleOf(whole).map((schema, index) => fieldOf(root, schema, { name: `${about.name} ${index + 1}`, required: true, changed: about.changed, inside: about.inside }));
  return {
    element: group(about, whole.description, fields.map((field) => field.element)),
    read: () => fields.map((field) => field.read() ?? null),
    write: (value) => {
      if (value === undefined) return fields.map((field) => field.write(undefined)).every(Boolean);
      return Array.isArray(value) && value.length === fields.length && fields.map((field, index) => writeItem(field, value[index])).every(Boolean);
    },
  };
}

/** One of several kinds: a choice, and the field of what was chosen. Within another union nothing is chosen at first, for
 * such types may contain themselves. */
function union(root, whole, arms, about) {
  let field;
  const open = about.required && !about.inside;
  const names = arms.map((arm) => kindOf(root, arm));
  const options = names.map((name, index) => make("option", { value: String(index) }, name));
  const select = make("select", { onchange: () => { show(); about.changed(); } }, open ? [] : make("option", { value: "" }, NOT_SET), options);
  const place = make("div", { class: "arm" });
  const show = () => {
    const arm = select.value === "" ? undefined : arms[Number(select.value)];
    field = arm && resolve(root, arm).type !== "null" ? fieldOf(root, arm, { name: names[Number(select.value)], required: true, changed: about.changed, inside: true }) : undefined;
    place.replaceChildren(...(field ? [field.element] : []));
  };
  const frame = line(root, whole, { ...about, kind: "one of these kinds" }, select);
  if (open) show();
  return {
    element: make("div", { class: "union" }, frame, place),
    read: () => (select.value === "" ? undefined : field ? field.read() : null),
    write: (value) => {
      if (value === undefined) {
        select.value = open ? "0" : "";
        show();
        return true;
      }
      const fitting = arms.findIndex((arm) => !problemsOf(root, arm, value).length);
      const order = [fitting, ...arms.keys()].filter((index) => index >= 0);
      return order.some((index) => {
        select.value = String(index);
        show();
        return field ? field.write(value) : value === null;
      });
    },
  };
}
