/*
 * The demo's page: one WebSocket, what people say on it, and the frames it is made of.
 * Its law: whatever came from outside reaches the document as text, never as markup.
 */

const ROOMS = ["lobby", "workshop", "garden"];
const FIRST_WORDS = ["Amber", "Calm", "Clever", "Cobalt", "Early", "Gentle", "Linen", "Quiet", "Silver", "Warm"];
const LAST_WORDS = ["Badger", "Finch", "Fox", "Heron", "Lark", "Marten", "Otter", "Robin", "Swift", "Wren"];
const BACKOFF = { firstMs: 500, limitMs: 15_000 };
const GROUP_MS = 5 * 60_000;
const CLOSE_CODES = {
  1000: "normal",
  1001: "going away",
  1006: "no close frame",
  1008: "policy",
  1009: "message too big",
  1011: "server error",
  1012: "service restart",
  1013: "try again later",
};
const KEPT = { messages: 500, frames: 200 };

const JSON_TOKENS =
  /(?<key>"(?:[^"\\]|\\.)*"(?=\s*:))|(?<string>"(?:[^"\\]|\\.)*")|(?<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|(?<keyword>\b(?:true|false|null)\b)/g;
const PYTHON_TOKENS =
  /(?<comment>#.*)|(?<string>"""[^]*?"""|f?"(?:[^"\\\n]|\\.)*")|(?<decorator>@[\w.]+)|(?<keyword>\b(?:async|await|class|def|from|import|return|None)\b)/g;

const $ = (id) => document.getElementById(id);
const pick = (list) => list[Math.floor(Math.random() * list.length)];
const characters = (text) => [...text].length;

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

/** Write text into a node, each token that the pattern names in a span of that class. */
function paint(node, text, tokens) {
  let end = 0;
  for (const match of text.matchAll(tokens)) {
    const kind = Object.keys(match.groups).find((name) => match.groups[name] !== undefined);
    const between = text.slice(end, match.index);
    node.append(between, between.endsWith(",") ? element("wbr") : "", element("span", kind, match[0]));
    end = match.index + match[0].length;
  }
  node.append(text.slice(end));
}

/** What this browser remembers, where it lets us remember anything. */
const memory = {
  guest: new URLSearchParams(location.search).has("guest"), // the second window, for which somebody else sits down
  read(key) {
    try {
      return sessionStorage.getItem(key) ?? (this.guest ? null : localStorage.getItem(key));
    } catch {
      return null;
    }
  },
  write(key, value) {
    try {
      sessionStorage.setItem(key, value); // this window keeps its own
      if (!this.guest) localStorage.setItem(key, value); // the next one starts from it
    } catch {
      /* private windows may refuse; the page works without */
    }
  },
};

// ── Rooms ────────────────────────────────────────────────────────────────────────────────────────────────────────

const tidyRoom = (name) => name.trim().toLowerCase().replace(/[^\p{L}\p{N}_-]+/gu, "-").replace(/^-+|-+$/g, "").slice(0, 24);
const logs = new Map(); // room → what its log showed when we left it
let room = null;

function roomInAddress() {
  try {
    return tidyRoom(decodeURIComponent(location.hash.slice(1))) || "lobby";
  } catch {
    return "lobby";
  }
}

function showRooms() {
  if (!ROOMS.includes(room)) ROOMS.push(room);
  const links = ROOMS.map((name) => {
    const link = element("a", "", name);
    link.href = `#${encodeURIComponent(name)}`;
    if (name === room) link.setAttribute("aria-current", "page");
    const item = element("li");
    item.append(link);
    return item;
  });
  $("rooms").replaceChildren(...links);
  $("rooms").querySelector("[aria-current]").scrollIntoView({ block: "nearest", inline: "nearest" });
  $("title").textContent = `#${room}`;
  $("text").placeholder = `Message #${room}`;
  $("twin").href = `?guest#${encodeURIComponent(room)}`;
}

function enterRoom() {
  const wanted = roomInAddress();
  if (wanted === room) return;
  if (room !== null) {
    const kept = document.createDocumentFragment();
    kept.append(...$("log").childNodes);
    logs.set(room, kept);
  }
  room = wanted;
  showRooms();
  showCount(0);
  showTitle();
  hideNotice();
  $("scroll").setAttribute("aria-busy", "true"); // what was said before is not news
  $("log").replaceChildren(logs.get(room) ?? "");
  $("scroll").setAttribute("aria-busy", "false");
  showWelcome();
  scrollDown();
  attempts = 0;
  connect();
}

// ── The log ──────────────────────────────────────────────────────────────────────────────────────────────────────

const ownAuthors = new Set(); // the public ids that this page's connections were given
let pinned = true; // the reader is at the bottom
let below = 0; // messages that arrived while they were not
let unread = 0; // messages that arrived while the page was hidden

const showTitle = () => (document.title = `${unread ? `(${unread}) ` : ""}#${room} · Wireloom`);
const showWelcome = () => ($("welcome").hidden = $("log").querySelector('[data-kind="message"]') !== null);

function showCount(count) {
  $("count").dataset.count = count;
  $("count").textContent = count === 0 ? "" : count === 1 ? "1 person here" : `${count} people here`;
}

function scrollDown() {
  $("scroll").scrollTop = $("scroll").scrollHeight;
  pinned = true;
  below = 0;
  $("newer").hidden = true;
}

function clock(at) {
  const time = element("time", "", at.toLocaleTimeString([], { hour: "numeric", minute: "2-digit" }));
  time.dateTime = at.toISOString();
  time.title = at.toLocaleString();
  return time;
}

function addToLog(event) {
  const own = ownAuthors.has(event.author);
  const at = new Date(event.at);
  const item = element("li");
  Object.assign(item.dataset, { kind: event.type, own, author: event.author, user: event.user, at: at.getTime() });
  if (event.type === "message") fillMessage(item, event, own, at);
  else item.append(element("span", "", presence(event, own)), clock(at));
  $("log").append(item);
  if ($("log").childElementCount > KEPT.messages) $("log").firstElementChild.remove();
  showWelcome();
  if (own || pinned) scrollDown();
  else if (event.type === "message") showNewer();
}

function presence(event, own) {
  if (event.type === "left") return `${event.user} left`;
  return own ? `You joined #${event.room}` : `${event.user} joined`;
}

function fillMessage(item, event, own, at) {
  const before = $("log").lastElementChild?.dataset;
  const grouped =
    before?.kind === "message" && before.author === event.author && before.user === event.user && at - before.at < GROUP_MS;
  item.dataset.first = !grouped;
  const meta = element("div", grouped ? "unseen" : "meta");
  meta.append(element("span", "author", own ? `${event.user} (you)` : event.user), " ", clock(at));
  const body = element("div", "body", event.text);
  body.title = at.toLocaleString();
  item.append(meta, body);
  if (document.hidden && !own) {
    unread += 1;
    showTitle();
  }
}

function showNewer() {
  below += 1;
  $("newer").textContent = below === 1 ? "1 new message ↓" : `${below} new messages ↓`;
  $("newer").hidden = false;
}

// ── Kind words for what went wrong ───────────────────────────────────────────────────────────────────────────────

function showNotice(text) {
  $("notice").hidden = false;
  $("notice-text").textContent = text;
}

function hideNotice() {
  $("notice").hidden = true;
  $("notice-text").textContent = "";
}

/** One sentence for an error frame, in whichever of the server's shapes. */
function explain(reply) {
  const open = "The connection stays open.";
  if (reply.details?.length) {
    const reasons = reply.details.map(({ path, message }) => (path && path !== "$" ? `${path}: ${message}` : message));
    return `The server refused that message. ${reasons.join("; ")}. ${open}`;
  }
  if (reply.type === "error") return `The server could not read that message: ${reply.message}. ${open}`;
  if (reply.id) return `Something failed on the server: ${reply.error} (${reply.id}). ${open}`;
  return `The server refused that message: ${reply.error}. ${open}`;
}

// ── The wire ─────────────────────────────────────────────────────────────────────────────────────────────────────

const inFlight = []; // when each unanswered message left, oldest first

function wireTime(at) {
  const two = (number) => String(number).padStart(2, "0");
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${String(at.getMilliseconds()).padStart(3, "0")}`;
}

function addFrame(direction, title, raw, { refused = false, tripMs } = {}) {
  const item = element("li");
  item.dataset.direction = direction;
  item.dataset.refused = refused;
  const head = element("p", "head");
  head.append(element("b", "", title), element("span", "", wireTime(new Date())));
  if (direction === "sent" || direction === "received") {
    head.append(element("span", "", `${new TextEncoder().encode(raw).length} bytes`));
  }
  if (tripMs !== undefined) head.append(element("span", "", `after ${tripMs.toFixed(1)} ms`));
  const body = element("p", "raw");
  if (raw.length < 4096 && ["sent", "received"].includes(direction)) paint(body, raw, JSON_TOKENS);
  else body.textContent = raw;
  item.append(head, body);
  const scroller = $("frames-scroll");
  const follow = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 60;
  $("frames").append(item);
  if ($("frames").childElementCount > KEPT.frames) $("frames").firstElementChild.remove();
  if (follow) scroller.scrollTop = scroller.scrollHeight;
}

function showWire(open) {
  $("wire").hidden = !open;
  $("app").dataset.wire = open ? "open" : "closed";
  $("wire-toggle").setAttribute("aria-expanded", open);
  $("frames-scroll").scrollTop = $("frames-scroll").scrollHeight;
}

function chooseWire(open) {
  showWire(open);
  memory.write("wireloom.wire", open ? "open" : "closed");
  if (!open) $("wire-toggle").focus();
}

async function showSource() {
  if (!$("source").open || $("code").textContent) return;
  try {
    const reply = await fetch("app.py");
    if (!reply.ok) throw new Error(reply.status);
    paint($("code"), await reply.text(), PYTHON_TOKENS);
  } catch {
    $("code").textContent = "The server does not show its source here.";
  }
}

// ── The connection ───────────────────────────────────────────────────────────────────────────────────────────────

let socket = null;
let attempts = 0; // failed ones since the last connection that stood
let retryAt = 0;
let retryTimer = 0;
let countdownTimer = 0;

function showStatus(state) {
  $("status").dataset.state = state;
  $("status-text").textContent = { open: "Connected", connecting: "Connecting", closed: "Not connected" }[state];
  $("offline").hidden = state === "open" || attempts === 0;
  clearInterval(countdownTimer);
  if (state === "closed") countdownTimer = setInterval(showCountdown, 250);
  showCountdown();
}

function showCountdown() {
  const seconds = Math.ceil((retryAt - Date.now()) / 1000);
  $("countdown").textContent = seconds > 0 ? `Trying again in ${seconds} s.` : "Trying again…";
}

function address() {
  const url = new URL(`chat/${encodeURIComponent(room)}`, document.baseURI);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.searchParams.set("user", $("name").value);
  return url.href;
}

function connect() {
  clearTimeout(retryTimer);
  if (socket?.readyState === WebSocket.OPEN) addFrame("closed", "Closed", closeText(1000, ""));
  socket?.close(1000);
  inFlight.length = 0;
  const mine = new WebSocket(address());
  const current = (handle) => (event) => socket === mine && handle(event);
  socket = mine;
  mine.onopen = current(() => addFrame("opened", "Opened", decodeURI(mine.url)));
  mine.onmessage = current(({ data }) => receive(data));
  mine.onclose = current(closed);
  showStatus("connecting");
}

const closeText = (code, reason) => [code, CLOSE_CODES[code], reason].filter(Boolean).join(" ");

/** Come back after a random share of a doubling limit (full jitter), so that a crowd does not come back at once. */
function closed({ code, reason }) {
  if ($("status").dataset.state === "open") addFrame("closed", "Closed", closeText(code, reason));
  let delayMs = Math.random() * Math.min(BACKOFF.limitMs, BACKOFF.firstMs * 2 ** attempts);
  try {
    const told = JSON.parse(reason).reconnect_in_ms; // a server that restarts says when
    if (told >= 0) delayMs = told;
  } catch {
    /* most reasons are words */
  }
  attempts += 1;
  retryAt = Date.now() + delayMs;
  retryTimer = setTimeout(connect, delayMs);
  hideNotice();
  showCount(0);
  showStatus("closed");
}

function receive(raw) {
  let event = {};
  try {
    event = JSON.parse(raw) ?? {};
  } catch {
    /* shown on the wire as it is */
  }
  const refused = "error" in event || event.type === "error";
  const own = event.type === "message" && ownAuthors.has(event.author);
  const sentAt = refused || own ? inFlight.shift() : undefined;
  const tripMs = sentAt === undefined ? undefined : performance.now() - sentAt;
  addFrame("received", refused ? "Refused" : "Received", String(raw), { refused, tripMs });
  if (refused) return showNotice(explain(event));
  if ("count" in event) showCount(event.count);
  if (event.type === "welcome") return welcome(event);
  if (["message", "joined", "left"].includes(event.type)) addToLog(event);
}

function welcome(event) {
  ownAuthors.add(event.author);
  attempts = 0;
  $("offline-text").textContent = "The connection is gone.";
  showStatus("open");
}

function transmit(raw) {
  if (socket?.readyState !== WebSocket.OPEN) {
    $("offline").hidden = false;
    $("offline-text").textContent = "Not sent: the connection is gone. Your text is kept.";
    return false;
  }
  inFlight.push(performance.now());
  socket.send(raw);
  addFrame("sent", "Sent", raw);
  hideNotice();
  return true;
}

// ── Writing ──────────────────────────────────────────────────────────────────────────────────────────────────────

function say(event) {
  event.preventDefault();
  const text = $("text").value.trim();
  keepName();
  if (text && transmit(JSON.stringify({ text, user: $("name").value }))) {
    $("text").value = "";
    fitText();
  }
  $("text").focus();
}

function sendBroken({ currentTarget }) {
  const user = $("name").value;
  const broken = {
    missing: JSON.stringify({ text: "Who said this?" }),
    type: JSON.stringify({ text: 42, user }),
    json: `{"text": "Hello", "user": `,
  };
  transmit(broken[currentTarget.dataset.break]);
}

let name = memory.read("wireloom.name") || `${pick(FIRST_WORDS)} ${pick(LAST_WORDS)}`;

function keepName() {
  name = $("name").value.trim() || name;
  $("name").value = name;
  memory.write("wireloom.name", name);
}

function fitText() {
  const box = $("text");
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight + 2}px`;
  const left = box.maxLength - characters(box.value);
  $("left-over").textContent = left <= 80 ? `${left} left` : "";
}

// ── Begin ────────────────────────────────────────────────────────────────────────────────────────────────────────

$("name").value = name;
$("name").addEventListener("change", keepName);
$("name").addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault();
  keepName();
  $("text").focus();
});
$("text").addEventListener("input", fitText);
$("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) say(event);
});
$("composer").addEventListener("submit", say);
$("go").addEventListener("submit", (event) => {
  event.preventDefault();
  const wanted = tidyRoom($("room").value);
  if (wanted) location.hash = encodeURIComponent(wanted);
  $("room").value = "";
});
$("scroll").addEventListener("scroll", () => {
  const { scrollHeight, scrollTop, clientHeight } = $("scroll");
  pinned = scrollHeight - scrollTop - clientHeight < 40;
  if (pinned) {
    below = 0;
    $("newer").hidden = true;
  }
});
new ResizeObserver(() => pinned && scrollDown()).observe($("scroll"));
$("newer").addEventListener("click", () => {
  scrollDown();
  $("text").focus();
});
$("dismiss").addEventListener("click", () => {
  hideNotice();
  $("text").focus();
});
$("retry").addEventListener("click", connect);
$("wire-toggle").addEventListener("click", () => chooseWire($("wire").hidden));
$("wire-close").addEventListener("click", () => chooseWire(false));
$("wire").addEventListener("keydown", (event) => event.key === "Escape" && chooseWire(false));
$("clear").addEventListener("click", () => $("frames").replaceChildren());
$("source").addEventListener("toggle", showSource);
for (const button of document.querySelectorAll("[data-break]")) button.addEventListener("click", sendBroken);
addEventListener("hashchange", enterRoom);
addEventListener("online", () => $("status").dataset.state === "closed" && connect());
document.addEventListener("visibilitychange", () => {
  unread = 0;
  showTitle();
});

showWire((memory.read("wireloom.wire") ?? (matchMedia("(min-width: 1081px)").matches ? "open" : "closed")) === "open");
enterRoom();
if (matchMedia("(pointer: fine)").matches) $("text").focus();
