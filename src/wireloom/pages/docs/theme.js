/** Light, dark, or automatically as the system is; remembered by the browser, where it lets pages do so. */

const KEY = "wireloom-docs-theme";
const NAMES = { "": "auto", light: "light", dark: "dark" };

export function chooseTheme(button) {
  const order = Object.keys(NAMES);
  const apply = (theme) => {
    document.documentElement.dataset.theme = theme;
    button.textContent = `Theme: ${NAMES[theme]}`;
  };
  const storage = storageOf();
  const kept = storage?.getItem(KEY) ?? "";
  apply(order.includes(kept) ? kept : "");
  button.addEventListener("click", () => {
    const next = order[(order.indexOf(document.documentElement.dataset.theme) + 1) % order.length];
    apply(next);
    storage?.setItem(KEY, next);
  });
}

function storageOf() {
  try {
    return localStorage;
  } catch (error) {
    if (error instanceof DOMException) return null; // it is forbidden
    throw error;
  }
}
