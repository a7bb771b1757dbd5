/*
 * Who you are, and one WebSocket to the server that comes back by itself.
 * It knows nothing of tasks: `listen` says what to do with what the server says, `run` runs a walker.
 */

const BACKOFF = { firstMs: 500, limitMs: 15_000 };
const ANSWER_MS = 15_000;
const RENEW_PAUSE_MS = 10_000;

/** What this window remembers over a reload. Another window is another person. */
export const memory = {
  read(key) {
    try {
      return JSON.parse(sessionStorage.getItem(`tasks.${key}`));
    } catch {
      return null;
    }
  },
  write(key, value) {
    try {
      sessionStorage.setItem(`tasks.${key}`, JSON.stringify(value));
    } catch {
      /* private windows may refuse; the page works without */
    }
  },
};

/** What the server, or the lack of one, refused. */
export class Refusal extends Error {
  constructor({ code = "", message = "The server refused that.", path = "" }, status = 0) {
    const field = path.replace(/^\$\.?/, "");
    super(!field ? message : message.startsWith("must ") ? `The ${field} ${message}.` : `${field}: ${message}`);
    this.code = code;
    this.status = status;
  }
}

const offline = (message = "There is no connection now.") => new Refusal({ code: "OFFLINE", message });

// ── Who you are ──────────────────────────────────────────────────────────────────────────────────────────────────

export let me = memory.read("login"); // user_id, root_id, username and token; null: nobody

/** One request to an endpoint of users or keys; gives its data. */
export async function post(path, body) {
  const headers = { ...(body && { "Content-Type": "application/json" }), ...(me && { Authorization: `Bearer ${me.token}` }) };
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

/** Logs in or registers. */
export async function enter(way, username, password) {
  remember(await post(`user/${way}`, { username, password }));
}

export function logOut() {
  if (me) post("user/logout").catch(() => {}); // the token is forgotten here all the same
  endLogin("");
}

function endLogin(problem = "Your login has ended. Log in again.") {
  remember(null);
  disconnect();
  on.end(problem);
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
    const login = await post("user/refresh-token");
    if (me?.root_id !== login.root_id) return; // logged out meanwhile
    remember(login);
    await ask({ type: "change_user", token: login.token });
  } catch (error) {
    if (error.status === 401) endLogin();
    else if (socket?.readyState === WebSocket.OPEN) renewSoon(); // else the next connection will tell
  }
}

// ── The connection ───────────────────────────────────────────────────────────────────────────────────────────────

let on = {}; // open(): it stands; hear(kind, data): the server's word; status(state, retryAt); end(problem): no login
let socket = null;
let attempts = 0; // failed ones since the last connection that stood
let retryTimer = 0;
const unanswered = new Map(); // id of an event → what waits for its answer

export function listen(handlers) {
  on = handlers;
}

export function connect() {
  clearTimeout(retryTimer);
  const url = new URL("websocket", document.baseURI);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  const mine = new WebSocket(url, ["wireloom.bearer", me.token]);
  const whileMine = (handle) => (event) => socket === mine && handle(event);
  socket = mine;
  mine.onmessage = whileMine(({ data }) => receive(JSON.parse(data), mine));
  mine.onclose = whileMine(closed);
  on.status(attempts ? "again" : "connecting");
}

function disconnect() {
  clearTimeout(retryTimer);
  clearTimeout(renewTimer);
  const last = socket;
  socket = null;
  last?.close(1000);
  failUnanswered();
  attempts = 0;
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
  retryTimer = setTimeout(connect, delayMs);
  failUnanswered();
  on.status("closed", Date.now() + delayMs);
}

function failUnanswered() {
  for (const { reject } of unanswered.values()) reject(offline("The connection was lost before the server answered."));
  unanswered.clear();
}

const newId = () => [...crypto.getRandomValues(new Uint32Array(2))].map((number) => number.toString(36)).join("");

/** Sends an event; gives the server's answer to it, or throws its refusal. */
export function ask(event) {
  return new Promise((resolve, reject) => {
    if (socket?.readyState !== WebSocket.OPEN || !socket.welcomed) return reject(offline());
    const id = newId();
    setTimeout(() => unanswered.delete(id) && reject(new Refusal({ message: "The server did not answer." })), ANSWER_MS);
    unanswered.set(id, { resolve, reject });
    socket.send(JSON.stringify({ ...event, id }));
  });
}

/** Runs a walker, at a node or at one's root; gives its reports. */
export async function run(walker, context = {}, node = undefined) {
  return (await ask({ type: "walker", walker, context, node, response: true })).reports;
}

function receive(message, from) {
  if (Array.isArray(message)) return on.hear(...message);
  const waiting = unanswered.get(message.id);
  if (waiting) {
    unanswered.delete(message.id);
    if (!("error" in message)) return waiting.resolve(message);
    return waiting.reject(new Refusal(typeof message.error === "string" ? { message: message.error } : message.error));
  }
  if (message.type === "connection" && !from.welcomed) return welcome(message.data, from);
  if (message.type === "connection" || message.type === "token_expiring") renewSoon();
}

/** The first frame of a connection: who the server takes us for. */
function welcome(data, from) {
  if (data.auth_error || data.root_id !== me.root_id) return endLogin();
  from.welcomed = true;
  attempts = 0;
  on.open();
}
