/** The part of a console that shows it as code. */

import { copyButton, make, switchOf } from "./dom.js";

/** @param languages `[name, write]`; what they write is asked for anew whenever it is shown. */
export function snippetOf(languages) {
  let chosen = languages[0][0];
  const shown = make("pre", { class: "code", tabindex: "0", "aria-label": "Code" });
  const details = make("details", { class: "more snippet" });
  const refresh = () => {
    if (details.open) shown.textContent = languages.find(([name]) => name === chosen)[1]();
  };
  const choose = switchOf("Language", languages.map(([name]) => [name, name]), chosen, (name) => { chosen = name; refresh(); });
  const bar = make("div", { class: "actions" }, choose.element, copyButton("Copy code", () => shown.textContent));
  details.append(make("summary", {}, "As code"), bar, shown);
  details.addEventListener("toggle", refresh);
  return { element: details, refresh };
}
