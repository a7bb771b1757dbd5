/*
 * The board: lists as the server last showed them, and what this window has asked for meanwhile.
 * Its laws: whatever came from outside reaches the document as text, never as markup; of two pictures of a list the
 * one with the greater revision is shown; what is refused is taken back and told.
 */

import { ask, connect, enter, listen, logOut, me, memory, post, run } from "./wire.js";

const AVATAR_COLOURS = 6;
const NEWS_MS = 6_000;
const SYNC_TRIES = 5;

const $ = (id) => document.getElementById(id);

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function button(className, text, label, act) {
  const made = element("button", className, text);
  made.type = "button";
  if (label) made.setAttribute("aria-label", label);
  made.addEventListener("click", act);
  return made;
}

function avatar(id, name) {
  const made = element("span", "avatar", [...name][0]?.toUpperCase());
  made.setAttribute("aria-hidden", "true");
  let hash = 7;
  for (const character of id) hash = (hash * 31 + character.codePointAt(0)) % 65_521;
  made.dataset.colour = hash % AVATAR_COLOURS;
  return made;
}

// ── What there is ────────────────────────────────────────────────────────────────────────────────────────────────

const lists = new Map(); // id → the newest picture
const asked = new Map(); // id of a task → what this window has changed and the server has not answered yet
const unseen = new Set(); // ids of lists that others changed while another was looked at
let currentId = null;
let loaded = false;

const current = () => lists.get(currentId);
const levelIn = (list) => list.people[me.root_id]?.level ?? "read";
const ownerOf = (list) => Object.values(list.people).find((person) => person.level === "own")?.name ?? "somebody";

/** A list's tasks as this window wants them: with what it has asked for, the open ones first. */
function tasksOf(list) {
  const tasks = list.tasks.map((task) => ({ ...task, ...asked.get(task.id) })).filter((task) => !task.gone);
  return [...tasks.filter((task) => !task.done), ...tasks.filter((task) => task.done)];
}

/** Takes in a picture, unless a newer one is here; whether it was news. */
function accept(picture) {
  const known = lists.get(picture.id);
  if (known && known.revision >= picture.revision) return false;
  lists.set(picture.id, picture);
  return true;
}

// ── What the server says ─────────────────────────────────────────────────────────────────────────────────────────

const hear = {
  /** A list has become this. */
  list(picture) {
    const before = lists.get(picture.id);
    if (!before || !accept(picture)) return;
    if (picture.by !== me.username) {
      const here = picture.id === currentId;
      if (!here || document.hidden) unseen.add(picture.id);
      tell(`${picture.by} ${picture.did}${here ? "" : ` in ${picture.title}`}`);
    }
    show(before);
  },

  /** There are more lists, or fewer, or they are told elsewhere now. */
  lists() {
    sync().catch((error) => error.code === "OFFLINE" || refuse(error)); // the next connection begins with it
  },
};

const subscribed = new Set(); // channels
let syncing = null;
let stale = false;

/** Fetches all lists and listens to them. What is told between the two is fetched again, so nothing is missed. */
function sync() {
  stale = true;
  syncing ??= syncAll().finally(() => (syncing = null));
  return syncing;
}

async function syncAll() {
  for (let tries = 0; stale && tries < SYNC_TRIES; tries += 1) {
    stale = false;
    const pictures = await run("Lists");
    take(pictures);
    const wanted = new Set(pictures.map((picture) => picture.channel));
    await tune("unsubscribe", [...subscribed].filter((channel) => !wanted.has(channel)));
    if (await tune("subscribe", [...wanted].filter((channel) => !subscribed.has(channel)))) stale = true;
  }
}

/** Begins or ends to listen; whether there may be news now. */
async function tune(type, channels) {
  if (!channels.length) return false;
  try {
    await ask({ type, channel_ids: channels });
  } catch (error) {
    if (error.code === "OFFLINE") throw error;
    return true; // no longer ours since we looked: look again
  }
  for (const channel of channels) type === "subscribe" ? subscribed.add(channel) : subscribed.delete(channel);
  return type === "subscribe";
}

function take(pictures) {
  const ids = new Set(pictures.map((picture) => picture.id));
  const before = current();
  for (const known of [lists, unseen]) for (const id of known.keys()) if (!ids.has(id)) known.delete(id);
  pictures.forEach(accept);
  const order = new Map([...ids].map((id) => [id, lists.get(id)])); // as the server has them
  lists.clear();
  for (const [id, list] of order) lists.set(id, list);
  if (!loaded && !lists.size) $("board").dataset.view = "lists"; // where a first one is made
  loaded = true;
  if (before && !lists.has(currentId)) lose(before);
  if (!lists.has(currentId)) currentId = [...lists.keys()].at(0) ?? null;
  show();
}

function lose(list) {
  if ($("about").open) $("about").close();
  if (levelIn(list) === "own") return;
  notify(`“${list.title}” is no longer shared with you, or it was deleted.`);
  $("new-task").value = "";
}

// ── What you do ──────────────────────────────────────────────────────────────────────────────────────────────────

/** Runs a walker on a list; `wanted` is shown of a task until the answer is here. Whether it went well. */
async function act(walker, context, { list = current(), wanted } = {}) {
  hideNotice();
  if (wanted) {
    asked.set(context.task, wanted);
    show();
  }
  try {
    (await run(walker, context, list.id)).forEach(accept);
    return true;
  } catch (error) {
    refuse(error);
    return false;
  } finally {
    if (wanted && asked.get(context.task) === wanted) asked.delete(context.task);
    show();
  }
}

/** Tells in words what was not done, and why. */
function refuse(error) {
  if (!me) return;
  const words = {
    FORBIDDEN: "You may read this list, but not change it.",
    NOT_FOUND: "This list is no longer shared with you, or it was deleted.",
    CONFLICT: "Somebody changed this at the same moment. Try again.",
    OFFLINE: `${error.message} Nothing was changed.`,
  };
  if (error.code === "NOT_FOUND") sync().catch(() => {});
  const text = words[error.code] ?? error.message;
  if ($("about").open) {
    $("about-refusal").textContent = text;
    $("about-refusal").hidden = false;
  } else notify(text);
}

function notify(text) {
  $("notice").hidden = false;
  $("notice-text").textContent = text;
}

function hideNotice() {
  $("notice").hidden = $("about-refusal").hidden = true;
  $("notice-text").textContent = $("about-refusal").textContent = "";
}

let newsTimer = 0;

/** What others did, for those who look and those who listen. */
function tell(text) {
  $("news").textContent = text;
  clearTimeout(newsTimer);
  newsTimer = setTimeout(() => ($("news").textContent = ""), NEWS_MS);
}

/** A form whose one text is kept until the server has taken it. */
function onText(form, input, send) {
  $(form).addEventListener("submit", async (event) => {
    event.preventDefault();
    const text = $(input).value.trim();
    $(input).value = "";
    $(input).focus(); // for the next one
    if (text && !(await send(text)) && !$(input).value) $(input).value = text;
  });
}

async function make(title) {
  hideNotice();
  try {
    const [made] = await run("MakeList", { title });
    accept(made);
    open(made.id); // at once: the server tells all windows to fetch the lists anew, this one too
    return true;
  } catch (error) {
    refuse(error);
    return false;
  }
}

// ── Lists ────────────────────────────────────────────────────────────────────────────────────────────────────────

function open(id) {
  if (id !== currentId) $("new-task").value = "";
  currentId = id;
  unseen.delete(id);
  memory.write(`list.${me.root_id}`, id);
  $("board").dataset.view = "list";
  hideNotice();
  $("tasks").replaceChildren();
  show();
  $("scroll").scrollTop = 0;
  if (matchMedia("(pointer: fine)").matches && !$("add").hidden) $("new-task").focus();
  else $("title").focus();
}

/** Shows everything as it is now; what has changed since `before`, by somebody else, is pointed out. */
function show(before) {
  if (!me) return;
  showLists();
  showSheet();
  showTasks(before?.id === currentId ? before : null);
  if ($("about").open) showAbout();
}

function showLists() {
  const focused = document.activeElement?.dataset?.list;
  const all = [...lists.values()];
  const own = all.filter((list) => levelIn(list) === "own");
  const granted = all.filter((list) => levelIn(list) !== "own");
  $("own").replaceChildren(...own.map(row));
  $("granted").replaceChildren(...granted.map(row));
  $("granted-part").hidden = granted.length === 0;
  $("none").hidden = !loaded || lists.size > 0;
  $("back-count").hidden = unseen.size === 0;
  $("back-count").textContent = unseen.size;
  if (focused) document.querySelector(`[data-list="${CSS.escape(focused)}"]`)?.focus();
}

function row(list) {
  const made = button("row", undefined, undefined, () => open(list.id));
  made.dataset.list = list.id;
  if (list.id === currentId) made.setAttribute("aria-current", "true");
  const left = tasksOf(list).filter((task) => !task.done).length;
  made.append(element("span", "name", list.title));
  if (levelIn(list) !== "own") made.append(element("span", "from", ownerOf(list)));
  else if (Object.keys(list.people).length > 1) made.append(element("span", "from", "shared"));
  if (unseen.has(list.id)) made.append(element("span", "fresh", ""), element("span", "unseen", "changed"));
  const count = element("span", "left", left || "");
  if (left) count.append(element("span", "unseen", " open"));
  made.append(count);
  const item = element("li");
  item.append(made);
  return item;
}

function showSheet() {
  const list = current();
  const may = list ? levelIn(list) : "";
  const left = list ? tasksOf(list).filter((task) => !task.done).length : 0;
  $("title").textContent = list?.title ?? "Tasks";
  const parts = !list ? [] : [may !== "own" && `${ownerOf(list)}’s list`, left ? `${left} open` : list.tasks.length > 0 && "All done"];
  $("subtitle").textContent = parts.filter(Boolean).join(" · ");
  $("settings").hidden = !list;
  $("settings-text").textContent = may === "own" ? "Share" : "People";
  const others = list ? Object.entries(list.people).filter(([id]) => id !== me.root_id) : [];
  $("faces").replaceChildren(...others.slice(0, 3).map(([id, person]) => avatar(id, person.name)));
  $("add").hidden = !list || may === "read";
  $("reading").hidden = may !== "read";
  $("reading").textContent = may === "read" ? `${ownerOf(list)} lets you read this list.` : "";
  showEmpty(list, may);
  document.title = `${unseen.size ? `(${unseen.size}) ` : ""}${list?.title ?? "Tasks"} · Tasks`;
}

function showEmpty(list, may) {
  const empty = loaded && (!list || tasksOf(list).length === 0);
  $("empty").hidden = !empty;
  if (!empty) return;
  $("empty-lead").textContent = list ? "Nothing to do here." : "No list yet.";
  $("empty-text").textContent = !list
    ? "Make one and give it a name, or have somebody share one with you."
    : may === "read"
      ? "When somebody adds a task, you will see it here."
      : "Add the first task above.";
}

// ── Tasks ────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Brings the rows in line, each task's its own, so that focus and a text that is being changed stay. */
function showTasks(before) {
  const list = current();
  const focused = document.activeElement;
  const rows = new Map([...$("tasks").children].map((item) => [item.dataset.task, item]));
  const known = new Map(before?.tasks.map((task) => [task.id, task.at]));
  let last = null;
  $("tasks").dataset.shared = list ? Object.keys(list.people).length > 1 : false;
  for (const task of list ? tasksOf(list) : []) {
    const item = rows.get(task.id) ?? newRow(task.id);
    rows.delete(task.id);
    fill(item, task, levelIn(list));
    if (before && task.by !== me.username && known.get(task.id) !== task.at) point(item);
    const next = last ? last.nextElementSibling : $("tasks").firstElementChild;
    if (next !== item) $("tasks").insertBefore(item, next);
    last = item;
  }
  const orphan = [...rows.values()].some((item) => item.contains(focused));
  for (const item of rows.values()) item.remove();
  if (focused !== document.activeElement && focused?.isConnected) focused.focus(); // it was moved
  if (orphan) ($("add").hidden ? $("title") : $("new-task")).focus();
}

function newRow(id) {
  const item = element("li", "task");
  item.dataset.task = id;
  const box = element("input");
  box.type = "checkbox";
  const label = element("label", "tick");
  label.append(box, element("span", "text"));
  box.addEventListener("change", () => act("ChangeTask", { task: id, done: box.checked }, { wanted: { done: box.checked } }));
  const tools = element("span", "tools");
  tools.append(
    button("tool", "Rename", undefined, () => edit(item)),
    button("tool", "Delete", undefined, () => act("DeleteTask", { task: id }, { wanted: { gone: true } })),
  );
  const more = button("tool more", "⋯", undefined, () => setOpen(item, item.dataset.open !== "true")); // where there is little room
  item.append(label, tools, element("span", "by caption"), more);
  setOpen(item, false);
  return item;
}

function setOpen(item, isOpen) {
  item.dataset.open = isOpen;
  item.querySelector(".more").setAttribute("aria-expanded", isOpen);
}

function fill(item, task, may) {
  const [box, text] = item.querySelector(".tick").children;
  box.checked = task.done;
  box.disabled = may === "read";
  text.textContent = task.text;
  item.dataset.done = task.done;
  item.querySelector(".by").textContent = task.by === me.username ? "" : task.by;
  item.querySelector(".by").title = `Changed ${new Date(task.at).toLocaleString()}`;
  const tools = item.querySelector(".tools");
  tools.hidden = item.querySelector(".more").hidden = may === "read";
  item.querySelector(".more").setAttribute("aria-label", `More for ${task.text}`);
  for (const tool of tools.children) tool.setAttribute("aria-label", `${tool.textContent} ${task.text}`);
  if (may === "read") item.querySelector(".edit")?.remove();
}

function point(item) {
  item.classList.remove("changed");
  void item.offsetWidth; // begin again
  item.classList.add("changed");
}

/** A text field in the place of the text. Enter keeps it, Escape does not. */
function edit(item) {
  if (item.querySelector(".edit")) return;
  const text = item.querySelector(".text").textContent;
  const form = element("form", "edit");
  const input = element("input");
  input.value = text;
  input.maxLength = 200;
  input.setAttribute("aria-label", `New text of ${text}`);
  const save = element("button", "quiet", "Save");
  form.append(input, save);
  item.append(form);
  const end = () => {
    form.remove();
    setOpen(item, false);
    const [rename, more] = item.querySelectorAll(".tool:first-child, .more");
    (more.checkVisibility() ? more : rename).focus();
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const wanted = input.value.trim();
    end();
    if (wanted && wanted !== text) act("ChangeTask", { task: item.dataset.task, text: wanted }, { wanted: { text: wanted } });
  });
  input.addEventListener("keydown", (event) => event.key === "Escape" && end());
  form.addEventListener("focusout", ({ relatedTarget }) => form.isConnected && relatedTarget && !form.contains(relatedTarget) && form.remove());
  input.focus();
  input.select();
}

// ── Sharing ──────────────────────────────────────────────────────────────────────────────────────────────────────

function openAbout() {
  $("key").hidden = true;
  $("rename-text").value = current().title;
  $("share-name").value = "";
  setDeleting(false);
  hideNotice();
  showAbout();
  $("about").showModal();
}

function showAbout() {
  const list = current();
  if (!list) return $("about").close();
  const may = levelIn(list);
  $("about-title").textContent = list.title;
  $("share").hidden = $("delete-part").hidden = may !== "own";
  $("rename-part").hidden = $("key-part").hidden = may === "read";
  const focused = document.activeElement?.dataset?.person;
  $("people").replaceChildren(...Object.entries(list.people).map(([id, person]) => personRow(id, person, may)));
  if (focused) (document.querySelector(`[data-person="${CSS.escape(focused)}"]`) ?? $("share-name")).focus();
}

function personRow(id, { name, level }, may) {
  const item = element("li", "person");
  const who = element("span", "name", id === me.root_id ? `${name} (you)` : name);
  const what = element("span", "caption", { own: "owns it", write: "may change it", read: "may read it" }[level]);
  item.append(avatar(id, name), who);
  if (may !== "own" || level === "own") item.append(what);
  else {
    const select = element("select");
    select.setAttribute("aria-label", `What ${name} may do`);
    select.append(new Option("may change it", "write"), new Option("may read it", "read"));
    select.value = level;
    select.dataset.person = `level ${id}`;
    select.addEventListener("change", () => act("Share", { name, level: select.value }));
    const out = button("quiet", "Remove", `Remove ${name}`, () => act("Unshare", { name }));
    out.dataset.person = `remove ${id}`;
    item.append(select, out);
  }
  return item;
}

async function makeKey() {
  hideNotice();
  const list = current();
  $("make-key").disabled = true;
  try {
    const key = await post("api-key/create", { name: `Tasks: ${list.title}`.slice(0, 100), allowed_walkers: ["TaskFromElsewhere"] });
    const url = new URL("webhook/TaskFromElsewhere", document.baseURI);
    $("key-text").textContent = [
      `export TASKS_URL='${url}'`,
      `export TASKS_LIST='${list.id}'`,
      `export TASKS_KEY='${key.api_key}'`,
      `export TASKS_SECRET='${key.signing_secret}'`,
    ].join("\n");
    $("key").hidden = false;
    $("key-text").focus();
  } catch (error) {
    refuse(error);
  } finally {
    $("make-key").disabled = false;
  }
}

/** Deleting asks once more, on the button itself. */
function setDeleting(sure) {
  $("delete").dataset.sure = sure;
  $("delete").textContent = sure ? "Yes, delete it" : "Delete list";
}

async function deleteList() {
  if ($("delete").dataset.sure !== "true") return setDeleting(true);
  const list = current();
  if (!(await act("DeleteList", {}, { list }))) return;
  $("about").close();
  sync().catch(refuse);
}

// ── The connection ───────────────────────────────────────────────────────────────────────────────────────────────

let retryAt = 0;
let countdownTimer = 0;
let wasOpen = false;

function showStatus(state, at = 0) {
  retryAt = at;
  if (state === "open") wasOpen = true;
  $("status").dataset.state = state;
  $("status-text").textContent = { open: "Live", connecting: "Connecting", again: "Connecting", closed: "Offline" }[state];
  $("offline").hidden = state === "open" || state === "connecting";
  if (state === "closed") {
    const text = wasOpen ? "You are offline. What you see may have changed since." : "The server cannot be reached.";
    if ($("offline-text").textContent !== text) $("offline-text").textContent = text;
  }
  if (state === "open") $("offline-text").textContent = "";
  clearInterval(countdownTimer);
  if (state === "closed") countdownTimer = setInterval(showCountdown, 250);
  showCountdown();
}

function showCountdown() {
  const seconds = Math.ceil((retryAt - Date.now()) / 1000);
  $("countdown").textContent = seconds > 0 ? `Trying again in ${seconds} s.` : "Trying again…";
}

async function opened() {
  subscribed.clear();
  try {
    await sync();
    showStatus("open");
  } catch (error) {
    if (error.code !== "OFFLINE") refuse(error); // else it is closed again, which is shown
  }
}

// ── Begin ────────────────────────────────────────────────────────────────────────────────────────────────────────

function showDoor(problem = "") {
  if ($("about").open) $("about").close();
  lists.clear();
  asked.clear();
  unseen.clear();
  subscribed.clear();
  currentId = null;
  loaded = wasOpen = false;
  $("key-text").textContent = $("news").textContent = "";
  $("door").hidden = false;
  $("board").hidden = true;
  $("enter-error").hidden = !problem;
  $("enter-error").textContent = problem;
  document.title = "Tasks · Wireloom";
  $(problem && $("username").value ? "password" : "username").focus();
}

function openBoard() {
  $("door").hidden = true;
  $("board").hidden = false;
  $("my-name").textContent = $("my-name").title = me.username;
  const face = avatar(me.root_id, me.username);
  face.id = "my-avatar";
  $("my-avatar").replaceWith(face);
  currentId = memory.read(`list.${me.root_id}`);
  $("board").dataset.view = "list";
  hideNotice();
  show();
  connect();
}

$("enter").addEventListener("submit", async (event) => {
  event.preventDefault();
  const buttons = [$("log-in"), $("register")];
  for (const each of buttons) each.disabled = true;
  try {
    await enter(event.submitter?.value ?? "login", $("username").value.trim(), $("password").value);
    $("password").value = "";
    openBoard();
  } catch (error) {
    const wrong = error.status === 401 ? "The name or the password is wrong." : error.message;
    showDoor(error.code === "IDENTITY_TAKEN" ? "This name is taken. Log in, or choose another." : wrong);
  } finally {
    for (const each of buttons) each.disabled = false;
  }
});
onText("make", "new-title", make);
onText("add", "new-task", (text) => act("AddTask", { text }));
onText("share", "share-name", (name) => act("Share", { name, level: $("share-level").value }));
$("rename").addEventListener("submit", (event) => {
  event.preventDefault();
  const title = $("rename-text").value.trim();
  if (title && title !== current().title) act("RenameList", { title });
});
$("log-out").addEventListener("click", logOut);
$("settings").addEventListener("click", openAbout);
$("about-close").addEventListener("click", () => $("about").close());
$("about").addEventListener("close", () => ($("key-text").textContent = ""));
$("make-key").addEventListener("click", makeKey);
$("delete").addEventListener("click", deleteList);
$("delete").addEventListener("blur", () => setDeleting(false));
$("retry").addEventListener("click", () => me && connect());
$("dismiss").addEventListener("click", () => {
  hideNotice();
  ($("add").hidden ? $("title") : $("new-task")).focus();
});
$("back").addEventListener("click", () => {
  $("board").dataset.view = "lists";
  (document.querySelector("[aria-current]") ?? $("new-title")).focus();
});
addEventListener("online", () => me && $("status").dataset.state === "closed" && connect());
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && unseen.delete(currentId)) show();
});

listen({
  open: opened,
  hear: (kind, data) => hear[kind]?.(data),
  status: showStatus,
  end: showDoor,
});
if (me) openBoard();
else showDoor();
