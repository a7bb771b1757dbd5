/** The token and API key of the page: in memory, and in the tab's session storage only where that was asked for. */

import { byId, labelled, make } from "./dom.js";

const KEY = "wireloom-docs-token";
const LABELS = { bearer: "Token", api_key: "API key" };
const inputs = {};

export const credential = (scheme) => inputs[scheme]?.value.trim().replace(/^bearer\s+/i, "") ?? "";

export const hasTokenField = () => "bearer" in inputs;

/** Puts a token into the page's field. */
export function useToken(token) {
  inputs.bearer.value = token;
  inputs.bearer.dispatchEvent(new Event("input"));
}

/** Asks for what the documents' security schemes want. */
export function askForCredentials(schemes) {
  for (const scheme of Object.keys(LABELS).filter((each) => schemes.has(each))) {
    inputs[scheme] = make("input", { id: `credential-${scheme}`, type: "password", autocomplete: "off", spellcheck: "false" });
    byId("credentials").append(labelled(LABELS[scheme], inputs[scheme]));
  }
  if (inputs.bearer) byId("credentials").append(keepBox());
}

function keepBox() {
  const box = make("input", { type: "checkbox", id: "keep-token" });
  const kept = stored(() => sessionStorage.getItem(KEY));
  if (kept) {
    inputs.bearer.value = kept;
    box.checked = true;
  }
  const keep = () => stored(() => (box.checked ? sessionStorage.setItem(KEY, inputs.bearer.value) : sessionStorage.removeItem(KEY)));
  box.addEventListener("change", keep);
  inputs.bearer.addEventListener("input", keep);
  return make("div", { class: "check hint keep" }, box, make("label", { for: "keep-token" }, "Keep the token in this tab"));
}

/** What storage gives; nothing where the browser forbids it. */
function stored(use) {
  try {
    return use();
  } catch (error) {
    if (error instanceof DOMException) return null;
    throw error;
  }
}
