/*
 * The team's page: who you are, one WebSocket, and the conversations on it.
 * Its laws: whatever came from outside reaches the document as text, never as markup; and only a list, [kind, data],
 * is the server's word: an object without one of our ids is a hint from somebody, and worth no more.
 */

const SUGGESTED = ["lobby", "design", "support"];
const BACKOFF = { firstMs: 500, limitMs: 15_000 };
const ANSWER_MS = 15_000;
const RENEW_PAUSE_MS = 10_000;
const GROUP_MS = 5 * 60_000;
const TYPING = { sendMs: 2_000, showMs: 4_000 };
const KEPT_MESSAGES = 500;
const AVATAR_COLOURS = 6;

const $ = (id) => document.getElementById(id);

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

/** What this window remembers over a reload. Another window is another person. */
const memory = {
  read(key) {
    try {
      return JSON.parse(sessionStorage.getItem(`team.${key}`));
    } catch {
      return null;
    }
  },
  write(key, value) {
    try {
      sessionStorage.setItem(`team.${key}`, JSON.stringify(value));
    } catch {
      /* private windows may refuse; the page works without */
    }
  },
};

/** What the server, or the lack of one, refused. */
class Refusal extends Error {
  constructor({ code = "", message = "The server refused that.", path = "" }, status = 0) {
    const field = path.replace(/^\$\.?/, "");
    super(!field ? message : message.startsWith("must ") ? `The ${field} ${message}.` : `${field}: ${message}`);
    this.code = code;
    this.status = status;
  }
}

const OFFLINE = { code: "OFFLINE", message: "There is no connection now." };

// ── Who you are ──────────────────────────────────────────────────────────────────────────────────────────────────

let me = memory.read("login"); // user_id, root_id, username and token; null: nobody

/** One request to an endpoint of users; gives its data. */
async function post(path, { body, token } = {}) {
  const headers = { ...(body && { "Content-Type": "application/json" }), ...(token && { Authorization: `Bearer ${token}` }) };
  let response, answer;
  try {
    response = await fetch(path, { method: "POST", headers, body: body && JSON.stringify(body) });
    answer = await response.json();
  } catch {
    throw new Refusal({ code: "OFFLINE", message: "The server does not answer. Try again." }, response?.status);
  }
  if (!answer.ok) throw new Refusal(answer.error, response.status);
  return answer.data;
}

function remember(login) {
  me = login;
  memory.write("login", login);
}

async function enter(event) {
  event.preventDefault();
  const way = event.submitter?.value ?? "login";
  const body = { username: $("username").value.trim(), password: $("password").value };
  setEntering(true);
  try {
    remember(await post(`user/${way}`, { body }));
    $("password").value = "";
    openOffice();
  } catch (error) {
    showDoor(error.message);
  } finally {
    setEntering(false);
  }
}

function setEntering(entering) {
  for (const button of [$("log-in"), $("register")]) button.disabled = entering;
}

function showDoor(problem = "") {
  $("door").hidden = false;
  $("office").hidden = true;
  $("enter-error").hidden = !problem;
  $("enter-error").textContent = problem;
  document.title = "Team · Wireloom";
  $(problem && $("username").value ? "password" : "username").focus();
}

function logOut() {
  if (me) post("user/logout", { token: me.token }).catch(() => {}); // the token is forgotten here all the same
  endLogin();
}

function endLogin(problem = "") {
  remember(null);
  disconnect();
  conversations.clear();
  people.clear();
  current = null;
  showDoor(problem);
}

// Tokens end. The server says so a minute before; a new one then takes the place of the old, on this same connection.

let renewedAt = -Infinity;
let renewTimer = 0;

function renewSoon() {
  clearTimeout(renewTimer);
  renewTimer = setTimeout(renew, Math.max(0, renewedAt + RENEW_PAUSE_MS - performance.now()));
}

async function renew() {
  if (!me) return;
  renewedAt = performance.now();
  try {
    const login = await post("user/refresh-token", { token: me.token });
    if (me?.root_id !== login.root_id) return; // logged out meanwhile
    remember(login);
    await ask({ type: "change_user", token: login.token });
  } catch (error) {
    if (error.status === 401) endLogin("Your login has ended. Log in again.");
    else if (socket?.readyState === WebSocket.OPEN) renewSoon(); // else the next connection will tell
  }
}

// ── The connection ───────────────────────────────────────────────────────────────────────────────────────────────

let socket = null;
let attempts = 0; // failed ones since the last connection that stood
let lostAt = 0;
let retryAt = 0;
let retryTimer = 0;
let countdownTimer = 0;
const unanswered = new Map(); // id of an event → what waits for its answer

function connect() {
  clearTimeout(retryTimer);
  const url = new URL("websocket", document.baseURI);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  const mine = new WebSocket(url, ["wireloom.bearer", me.token]);
  const whileMine = (handle) => (event) => socket === mine && handle(event);
  socket = mine;
  mine.onmessage = whileMine(({ data }) => receive(data, mine));
  mine.onclose = whileMine(closed);
  showStatus("connecting");
}

function disconnect() {
  clearTimeout(retryTimer);
  clearTimeout(renewTimer);
  const last = socket;
  socket = null;
  last?.close(1000);
  failUnanswered();
  attempts = lostAt = 0;
  showStatus("connecting");
}

/** Come back after a random share of a doubling limit (full jitter), so that a crowd does not come back at once. */
function closed({ reason }) {
  let delayMs = Math.random() * Math.min(BACKOFF.limitMs, BACKOFF.firstMs * 2 ** attempts);
  try {
    const told = JSON.parse(reason).reconnect_in_ms; // a server that restarts says when
    if (told >= 0) delayMs = told;
  } catch {
    /* most reasons are words */
  }
  attempts += 1;
  lostAt ||= Date.now();
  retryAt = Date.now() + delayMs;
  retryTimer = setTimeout(connect, delayMs);
  failUnanswered();
  for (const one of conversations.values()) one.typing.clear();
  showTyping();
  endReport("The report ended with the connection.");
  showStatus("closed");
}

function failUnanswered() {
  for (const { reject } of unanswered.values()) reject(new Refusal({ ...OFFLINE, message: "The connection was lost before the server answered." }));
  unanswered.clear();
}

const newId = () => [...crypto.getRandomValues(new Uint32Array(2))].map((number) => number.toString(36)).join("");

/** Sends an event; gives the server's answer to it, or throws its refusal. */
function ask(event) {
  return new Promise((resolve, reject) => {
    if (socket?.readyState !== WebSocket.OPEN) return reject(new Refusal(OFFLINE));
    const id = newId(); // not to be guessed, so that nobody else answers
    setTimeout(() => unanswered.delete(id) && reject(new Refusal({ message: "The server did not answer." })), ANSWER_MS);
    unanswered.set(id, { resolve, reject });
    socket.send(JSON.stringify({ ...event, id }));
  });
}

/** Calls one of the application's own events, such as `say`. */
const call = (walker, context) => ask({ type: "walker", walker, context, response: true });

function receive(raw, from) {
  const message = JSON.parse(raw);
  if (Array.isArray(message)) return hear[message[0]]?.(message[1]);
  const waiting = unanswered.get(message.id);
  if (waiting) {
    unanswered.delete(message.id);
    if (!("error" in message)) return waiting.resolve(message);
    return waiting.reject(new Refusal(typeof message.error === "string" ? { message: message.error } : message.error));
  }
  if (message.type === "connection" && !from.welcomed) return welcome(message.data, from);
  if (message.type === "connection" || message.type === "token_expiring") return renewSoon();
  if (typeof message.typing === "string") showHint(message);
}

/** The first frame of a connection: who the server takes us for. */
async function welcome(data, from) {
  from.welcomed = true;
  if (data.auth_error || data.root_id !== me.root_id) return endLogin("Your login has ended. Log in again.");
  const channels = [...conversations.values()].filter((one) => one.isChannel).map((one) => one.id);
  try {
    if (channels.length) await ask({ type: "subscribe", channel_ids: channels });
  } catch (error) {
    showRefusal(error);
  }
  if (socket !== from || from.readyState !== WebSocket.OPEN) return;
  if (lostAt) noteAbsence(Math.round((Date.now() - lostAt) / 1000));
  attempts = lostAt = 0;
  showStatus("open");
}

function showStatus(state) {
  $("status").dataset.state = state;
  $("status-text").textContent = { open: "Connected", connecting: "Connecting", closed: "Not connected" }[state];
  $("office").dataset.wire = state; // who was here is not news any more
  $("offline").hidden = state === "open" || attempts === 0;
  $("send").disabled = $("write").disabled = state !== "open";
  clearInterval(countdownTimer);
  if (state === "closed") countdownTimer = setInterval(showCountdown, 250);
  showCountdown();
  showHeader();
}

function showCountdown() {
  const seconds = Math.ceil((retryAt - Date.now()) / 1000);
  $("countdown").textContent = seconds > 0 ? `Trying again in ${seconds} s.` : "Trying again…";
}

// ── What the server says ─────────────────────────────────────────────────────────────────────────────────────────

const people = new Map(); // root id → name, of who is here

const hear = {
  said(message) {
    const conversation = conversations.get(`#${message.channel}`);
    if (conversation) add(conversation, message);
  },

  told(message) {
    const mine = message.from.id === me.root_id;
    add(personal(mine ? message.to : message.from.id, mine ? undefined : message.from.name), message);
  },

  people(list) {
    const before = new Map(people);
    people.clear();
    for (const { id, name } of list) people.set(id, name);
    const changes = [
      ...[...people].filter(([id]) => !before.has(id) && id !== me.root_id).map(([, name]) => `${name} is here`),
      ...[...before].filter(([id]) => !people.has(id) && id !== me.root_id).map(([, name]) => `${name} has left`),
    ];
    if (before.size) $("news").textContent = changes.join(", ");
    showLists();
    showHeader();
  },

  progress({ done, of }) {
    $("progress-line").hidden = false;
    $("progress").max = of;
    $("progress").value = done;
    $("progress").textContent = `${Math.round((100 * done) / of)}%`;
    running = done < of;
    if (running) showReport(`Page ${done} of ${of}`, { news: false });
    else showReport(`Finished: ${of === 1 ? "1 page" : `${of} pages`}.`);
  },
};

// ── Conversations ────────────────────────────────────────────────────────────────────────────────────────────────

const conversations = new Map(); // "#channel" or "@root id" → what was said there
let current = null;

function conversation(key, isChannel, id, name) {
  if (!conversations.has(key)) {
    const log = element("ol");
    conversations.set(key, { key, isChannel, id, name, log, last: null, unread: 0, draft: "", typing: new Map() });
  }
  return conversations.get(key);
}

const channelOf = (name) => conversation(`#${name}`, true, name, name);
const personal = (id, name) => conversation(`@${id}`, false, id, people.get(id) ?? name ?? "Somebody");
const tidy = (name) => name.trim().toLowerCase().replace(/[^\p{L}\p{N}_-]+/gu, "-").replace(/^-+|-+$/g, "").slice(0, 24);

function keepChannels() {
  memory.write(`channels.${me.root_id}`, [...conversations.values()].filter((one) => one.isChannel).map((one) => one.id));
}

async function join(name) {
  if (!conversations.has(`#${name}`)) {
    try {
      await ask({ type: "subscribe", channel_ids: [name] });
    } catch (error) {
      return showRefusal(error);
    }
  }
  channelOf(name);
  keepChannels();
  show(`#${name}`);
}

async function leave() {
  const left = current;
  try {
    await ask({ type: "unsubscribe", channel_ids: [left.id] });
  } catch (error) {
    return showRefusal(error);
  }
  conversations.delete(left.key);
  keepChannels();
  const next = [...conversations.values()].find((one) => one.isChannel) ?? conversations.values().next().value;
  show(next?.key ?? null);
}

function show(key) {
  if (current) current.draft = $("text").value;
  current = conversations.get(key) ?? null;
  if (current) current.unread = 0;
  $("office").dataset.view = "talk";
  hideNotice();
  $("scroll").setAttribute("aria-busy", "true"); // what was said before is not news
  $("log").replaceChildren(current?.log ?? "");
  $("scroll").setAttribute("aria-busy", "false");
  $("text").value = current?.draft ?? "";
  fitText();
  showHeader();
  showLists();
  showTyping();
  scrollDown();
  if (matchMedia("(pointer: fine)").matches) $("text").focus();
}

function showHeader() {
  const partner = current && !current.isChannel;
  if (partner) current.name = people.get(current.id) ?? current.name;
  $("title").textContent = !current ? "Team" : current.isChannel ? `#${current.name}` : current.name;
  $("subtitle").textContent = !current ? "" : current.isChannel ? "Everyone who has joined reads along" : whereabouts(current.id);
  $("leave").hidden = !current?.isChannel;
  $("composer").hidden = !current;
  $("text-label").textContent = $("text").placeholder = current ? `Message ${current.isChannel ? "#" : ""}${current.name}` : "Message";
  showEmpty();
}

function whereabouts(id) {
  if ($("status").dataset.state !== "open") return "Only you two read this";
  return people.has(id) ? "Here now · only you two read this" : "Not here now";
}

function showEmpty() {
  $("empty").hidden = Boolean(current?.log.childElementCount);
  $("empty-lead").textContent = !current ? "Nowhere yet." : current.isChannel ? `Nothing said in #${current.name} yet.` : `You and ${current.name}.`;
  $("empty-text").textContent = !current
    ? "Join a channel, or choose somebody to write to."
    : current.isChannel
      ? "What you write here goes to everyone who has joined the channel."
      : "What you write here reaches all of their windows, and nobody else's.";
}

/** Puts a button for each conversation into the lists, and keeps the focus where it was. */
function showLists() {
  const focused = document.activeElement?.dataset?.key;
  const joined = [...conversations.values()].filter((one) => one.isChannel);
  const more = SUGGESTED.filter((name) => !conversations.has(`#${name}`));
  $("channels").replaceChildren(...joined.map((one) => row(one.key, "#", one.name)), ...more.map((name) => row(`#${name}`, "+", name, "Join ")));
  const known = new Map([...conversations.values()].filter((one) => !one.isChannel).map((one) => [one.id, one.name]));
  for (const [id, name] of people) known.set(id, name);
  known.delete(me?.root_id);
  const sorted = [...known].sort(([a, first], [b, second]) => people.has(b) - people.has(a) || first.localeCompare(second));
  $("people").replaceChildren(...sorted.map(([id, name]) => row(`@${id}`, "", name)));
  $("alone").hidden = sorted.length > 0 || people.size === 0;
  $("people-count").textContent = people.size ? `· ${people.size} here` : "";
  if (focused) document.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
  showUnread();
}

function row(key, sign, name, verb = "") {
  const button = element("button", "row");
  button.type = "button";
  button.dataset.key = key;
  if (key === current?.key) button.setAttribute("aria-current", "true");
  if (verb) button.dataset.joined = "false";
  if (key.startsWith("@")) {
    button.dataset.here = people.has(key.slice(1));
    button.append(avatar(key.slice(1), name));
  } else button.append(verb ? element("span", "unseen", verb) : "", mute(element("span", "sign", sign)));
  button.append(element("span", "name", name));
  if (button.dataset.here === "false") button.append(element("span", "away", "away"));
  const unread = conversations.get(key)?.unread;
  if (unread) {
    const count = element("span", "count", unread);
    count.append(element("span", "unseen", " unread"));
    button.append(count);
  }
  const item = element("li");
  item.append(button);
  return item;
}

function mute(node) {
  node.setAttribute("aria-hidden", "true");
  return node;
}

function avatar(id, name) {
  const made = mute(element("span", "avatar", [...name][0]?.toUpperCase()));
  let hash = 7;
  for (const character of id) hash = (hash * 31 + character.codePointAt(0)) % 65_521;
  made.dataset.colour = hash % AVATAR_COLOURS;
  return made;
}

function showUnread() {
  const total = [...conversations.values()].reduce((sum, one) => sum + one.unread, 0);
  $("back-count").hidden = total === 0;
  $("back-count").textContent = total;
  const where = $("title").textContent;
  document.title = me ? `${total ? `(${total}) ` : ""}${where} · Team` : document.title;
}

// ── Messages ─────────────────────────────────────────────────────────────────────────────────────────────────────

let pinned = true; // the reader is at the bottom

function add(to, message) {
  const { from, text } = message;
  const at = new Date(message.at);
  const own = from.id === me.root_id;
  const grouped = to.last?.id === from.id && at - to.last.at < GROUP_MS;
  const item = element("li");
  Object.assign(item.dataset, { kind: "message", own, first: !grouped });
  const meta = element("p", grouped ? "unseen" : "meta");
  meta.append(element("span", "author", own ? `${from.name} (you)` : from.name), " ", clock(at));
  const body = element("p", "body", text);
  body.title = at.toLocaleString();
  if (!grouped) item.append(avatar(from.id, from.name));
  item.append(meta, body);
  append(to, item);
  to.last = { id: from.id, at };
  clearTimeout(to.typing.get(from.id));
  to.typing.delete(from.id);
  if (!own && (to !== current || document.hidden)) to.unread += 1;
  if (to === current) showTyping();
  showLists();
}

function noteAbsence(seconds) {
  for (const one of conversations.values()) {
    if (!one.log.childElementCount) continue;
    const item = element("li", "", `You were not connected for ${seconds || 1} s. What was said meanwhile is not shown.`);
    item.dataset.kind = "note";
    append(one, item);
    one.last = null;
  }
}

function append(to, item) {
  item.className = "new";
  item.addEventListener("animationend", () => (item.className = ""));
  to.log.append(item);
  if (to.log.childElementCount > KEPT_MESSAGES) to.log.firstElementChild.remove();
  if (to !== current) return;
  showEmpty();
  if (pinned || item.dataset.own === "true") scrollDown();
}

function scrollDown() {
  $("scroll").scrollTop = $("scroll").scrollHeight;
  pinned = true;
}

function clock(at) {
  const time = element("time", "", at.toLocaleTimeString([], { hour: "numeric", minute: "2-digit" }));
  time.dateTime = at.toISOString();
  return time;
}

// ── Writing ──────────────────────────────────────────────────────────────────────────────────────────────────────

async function send(event) {
  event.preventDefault();
  const to = current;
  const text = $("text").value.trim();
  if (!to || !text || $("send").disabled) return;
  $("text").value = "";
  fitText();
  hideNotice();
  typedAt = -Infinity;
  try {
    await (to.isChannel ? call("say", { channel: to.id, text }) : call("tell", { to: to.id, text }));
  } catch (error) {
    if (current !== to) to.draft ||= text;
    else if (!$("text").value) $("text").value = text;
    fitText();
    showRefusal(error, "Not sent; your text is kept. ");
  }
}

function fitText() {
  const box = $("text");
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight + 2}px`;
}

function showRefusal(error, before = "") {
  $("office").dataset.view = "talk";
  $("notice").hidden = false;
  $("notice-text").textContent = before + error.message;
  $("notice-code").textContent = error.code ?? "";
}

function hideNotice() {
  $("notice").hidden = true;
  $("notice-text").textContent = $("notice-code").textContent = "";
}

// That somebody types is no more than a hint, so it goes straight from peer to peers: a plain `channel` event.

let typedAt = -Infinity;

function hint() {
  if (!current?.isChannel || socket?.readyState !== WebSocket.OPEN || !$("text").value) return;
  if (performance.now() - typedAt < TYPING.sendMs) return;
  typedAt = performance.now();
  socket.send(JSON.stringify({ type: "channel", channel_ids: [current.id], data: { typing: current.id, by: me.root_id } }));
}

function showHint({ typing, by }) {
  const where = conversations.get(`#${typing}`);
  if (!where || by === me.root_id) return;
  clearTimeout(where.typing.get(by));
  const forget = () => where.typing.delete(by) && showTyping();
  where.typing.set(by, setTimeout(forget, TYPING.showMs));
  showTyping();
}

function showTyping() {
  const names = [...(current?.typing.keys() ?? [])].map((id) => people.get(id)).filter(Boolean); // the server's names only
  const text = names.length === 0 ? "" : names.length === 1 ? `${names[0]} is typing…` : names.length === 2 ? `${names.join(" and ")} are typing…` : "Several people are typing…";
  $("typing").textContent = text;
  $("typing").dataset.typing = names.length > 0;
}

// ── The report ───────────────────────────────────────────────────────────────────────────────────────────────────

let running = false;

async function order(event) {
  event.preventDefault();
  $("report-refusal").textContent = "";
  try {
    await call("report", { pages: $("pages").valueAsNumber });
  } catch (error) {
    $("report-refusal").textContent = error.message;
  }
}

function showReport(text, { news = true } = {}) {
  $("report-state").setAttribute("aria-live", news ? "polite" : "off"); // not every page is news
  $("report-state").textContent = text;
}

function endReport(text) {
  if (!running) return;
  running = false;
  $("progress-line").hidden = true;
  showReport(text);
}

// ── Begin ────────────────────────────────────────────────────────────────────────────────────────────────────────

function openOffice() {
  $("door").hidden = true;
  $("office").hidden = false;
  $("my-name").textContent = $("my-name").title = me.username;
  const face = avatar(me.root_id, me.username);
  face.id = "my-avatar";
  $("my-avatar").replaceWith(face);
  running = false;
  $("progress-line").hidden = true;
  showReport("You can talk on meanwhile.");
  $("report-refusal").textContent = "";
  for (const name of memory.read(`channels.${me.root_id}`) ?? SUGGESTED.slice(0, 1)) channelOf(name);
  show(conversations.keys().next().value ?? null);
  connect();
}

$("enter").addEventListener("submit", enter);
$("log-out").addEventListener("click", logOut);
$("composer").addEventListener("submit", send);
$("text").addEventListener("input", () => {
  fitText();
  hint();
});
$("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) send(event);
});
$("join").addEventListener("submit", (event) => {
  event.preventDefault();
  const wanted = tidy($("channel").value);
  $("channel").value = "";
  if (wanted) join(wanted);
});
$("channels").addEventListener("click", ({ target }) => {
  const key = target.closest("[data-key]")?.dataset.key;
  if (key) join(key.slice(1));
});
$("people").addEventListener("click", ({ target }) => {
  const key = target.closest("[data-key]")?.dataset.key;
  if (key) show(personal(key.slice(1)).key);
});
$("leave").addEventListener("click", leave);
$("back").addEventListener("click", () => {
  $("office").dataset.view = "lists";
  document.querySelector("[aria-current]")?.focus();
});
$("report").addEventListener("submit", order);
$("retry").addEventListener("click", () => me && connect());
$("dismiss").addEventListener("click", () => {
  hideNotice();
  $("text").focus();
});
$("scroll").addEventListener("scroll", () => {
  const { scrollHeight, scrollTop, clientHeight } = $("scroll");
  pinned = scrollHeight - scrollTop - clientHeight < 40;
});
new ResizeObserver(() => pinned && scrollDown()).observe($("scroll"));
addEventListener("online", () => me && $("status").dataset.state === "closed" && connect());
document.addEventListener("visibilitychange", () => {
  if (document.hidden || !current) return;
  current.unread = 0;
  showLists();
});

if (me) openOffice();
else showDoor();
