/** A schema shown as a tree of rows. */

import { make } from "./dom.js";
import { kindOf, limitsOf, partsOf, propertiesOf, resolve } from "./schema.js";

/** A part that is shown when it is opened, so that types may contain themselves. */
function closed(root, [name, schema], asked) {
  const details = make("details", { class: "more" }, make("summary", {}, name));
  details.addEventListener("toggle", () => {
    if (details.open && details.children.length === 1) details.append(treeOf(root, schema, asked));
  });
  return details;
}

/** One member of an object, or one parameter. */
export function rowOf(root, name, schema, required, asked = true, place = "") {
  const whole = resolve(root, schema);
  const limits = limitsOf(whole);
  return make("div", { class: "row" },
    make("span", { class: "name" }, name), " ", make("span", { class: "kind" }, kindOf(root, schema), place),
    required && asked ? [" ", make("span", { class: "must" }, "required")] : null,
    !required && !asked ? [" ", make("span", { class: "limits" }, "optional")] : null,
    limits ? [" ", make("span", { class: "limits" }, limits)] : null,
    whole.description ? make("p", {}, whole.description) : null,
    partsOf(root, schema).map((part) => closed(root, part, asked)));
}

/** A schema as rows; of what is asked for, it says what is required. */
export function treeOf(root, schema, asked = true) {
  const whole = resolve(root, schema);
  const box = make("div", { class: "schema" });
  if (propertiesOf(whole).length) {
    const required = whole.required ?? [];
    for (const [name, field] of propertiesOf(whole)) box.append(rowOf(root, name, field, required.includes(name), asked));
    return box;
  }
  const kind = whole.enum ? kindOf(root, whole) : kindOf(root, schema);
  box.append(make("div", { class: "row" }, make("span", { class: "name" }, kind),
    limitsOf(whole) ? [" ", make("span", { class: "limits" }, limitsOf(whole))] : null,
    partsOf(root, schema).map((part) => closed(root, part, asked))));
  return box;
}
