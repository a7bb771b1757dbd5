// The page of the chat: one WebSocket that comes back by itself. Whatever others wrote is put in place as text, never as HTML.
"use strict";

const $ = (id) => document.getElementById(id);
const MAX_LINES = 500; // of the log
const FIRST_DELAY = 500, LAST_DELAY = 10_000; // milliseconds before it comes back

let socket = null;
let me = ""; // the name that the server knows
let wanted = ""; // the name to come in with
let attempts = 0; // since a connection last went well
let leaving = false;
let waiting = 0; // the timer of the next attempt
let atEnd = true; // whether the newest line is looked at
let before = null; // the author and time of the last message, which the next may go on

// -- the connection ---------------------------------------------------------------------------------------------------

function connect() {
  clearTimeout(waiting);
  setState("connecting", attempts ? "Reconnecting…" : "Connecting…");
  const address = new URL("./", location.href);
  address.protocol = address.protocol.replace("http", "ws");
  socket = new WebSocket(address);
  socket.onopen = () => send({ type: "join", name: wanted });
  socket.onmessage = ({ data }) => hear(JSON.parse(data));
  socket.onclose = closed;
}

function send(message) {
  if (socket?.readyState !== WebSocket.OPEN) return false;
  socket.send(JSON.stringify(message));
  return true;
}

function closed(event) {
  socket = null;
  const wasHere = me !== "";
  me = "";
  if (leaving || (!wasHere && $("room").hidden && $("enter-error").textContent)) {
    leaving = false;
    showDoor();
    return;
  }
  if (wasHere) news("The connection was lost. What is said meanwhile does not arrive.");
  const delay = Math.max(Math.random() * Math.min(LAST_DELAY, FIRST_DELAY * 2 ** attempts), advice(event.reason));
  attempts += 1;
  if ($("room").hidden) $("enter-error").textContent = "The server does not answer; trying again.";
  setState("waiting", "Reconnecting…");
  waiting = setTimeout(connect, delay);
}

/** How long the server wants us to stay away, in milliseconds. */
function advice(reason) {
  try {
    return Number(JSON.parse(reason).reconnect_in_ms) || 0;
  } catch {
    return 0;
  }
}

function setState(state, text) {
  $("status").dataset.state = state;
  $("status-text").textContent = text;
  for (const control of document.querySelectorAll("#say button, #rename button")) control.disabled = state !== "open";
}

// -- what the server says ---------------------------------------------------------------------------------------------

const EVENTS = {
  welcome({ name, people }) {
    me = wanted = name;
    attempts = 0;
    sessionStorage.setItem("name", name);
    $("new-name").value = name;
    showRoom();
    showPeople(people);
    setState("open", "Connected");
  },
  joined({ name, people, at }) {
    showPeople(people);
    news(name === me ? "You have joined" : `${name} has joined`, at);
  },
  left({ name, people, at }) {
    showPeople(people);
    news(`${name} has left`, at);
  },
  renamed({ before: old, name, people, at }) {
    if (old === me) {
      me = wanted = name;
      sessionStorage.setItem("name", name);
      $("new-name").value = name;
      $("error").textContent = "";
    }
    showPeople(people);
    news(`${old} is now ${name}`, at);
  },
  message: said,
};

function hear(event) {
  if (event.error) refuse(event.error);
  else EVENTS[event.type]?.(event);
}

function refuse(error) {
  if (me) {
    $("error").textContent = error;
    return;
  }
  showDoor(error); // it does not let us in under this name
  leaving = true;
  socket?.close();
}

// -- what is shown ----------------------------------------------------------------------------------------------------

function showRoom() {
  $("enter-error").textContent = "";
  if (!$("room").hidden) return;
  $("door").hidden = true;
  $("room").hidden = false;
  $("text").focus();
}

function showDoor(error = "") {
  $("room").hidden = true;
  $("door").hidden = false;
  if (error) $("enter-error").textContent = error;
  $("name").value = wanted;
  $("name").focus();
}

function showPeople(people) {
  $("count").textContent = people.length;
  $("people").replaceChildren(
    ...people.map((name) => {
      const row = element("li", name === me ? "me" : "", name === me ? `${name} (you)` : name);
      row.title = name;
      return row;
    }),
  );
}

function said({ name, text, at }) {
  const own = name === me;
  const row = element("li", own ? "said own" : "said");
  const head = element("div", "head");
  head.append(element("span", "author", own ? "You" : name), timeOf(at));
  row.append(head, element("div", "body", text));
  const goesOn = before?.name === name && Date.parse(at) - before.at < 120_000;
  row.classList.toggle("more", goesOn);
  before = { name, at: goesOn ? before.at : Date.parse(at) };
  if (own) $("error").textContent = "";
  append(row);
}

function news(text, at) {
  before = null;
  const row = element("li", "news", text);
  if (at) row.append(" ", timeOf(at));
  append(row);
}

/** Adds a line, and scrolls to it for somebody who looks at the end. */
function append(row) {
  $("log").append(row);
  while ($("log").childElementCount > MAX_LINES) $("log").firstElementChild.remove();
  if (row.classList.contains("own")) atEnd = true;
  keepAtEnd();
}

function keepAtEnd() {
  if (atEnd) $("scroll").scrollTop = $("scroll").scrollHeight;
}

$("scroll").onscroll = ({ target }) => {
  atEnd = target.scrollHeight - target.scrollTop - target.clientHeight < 60;
};
new ResizeObserver(keepAtEnd).observe($("scroll")); // an error or a keyboard takes room away

function timeOf(at) {
  const time = element("time", "", new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }));
  time.dateTime = at;
  return time;
}

function element(tag, classes, text = "") {
  const made = document.createElement(tag);
  made.className = classes;
  made.textContent = text;
  return made;
}

// -- what people do ---------------------------------------------------------------------------------------------------

$("enter").onsubmit = (event) => {
  event.preventDefault();
  wanted = $("name").value.trim();
  $("enter-error").textContent = "";
  leaving = false;
  attempts = 0;
  if (socket) socket.onclose = null;
  socket?.close();
  connect();
};

$("say").onsubmit = (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  if (text.length > 500) $("error").textContent = `A message has at most 500 characters, this has ${text.length}`;
  else if (text && send({ type: "message", text })) $("text").value = "";
};

$("rename").onsubmit = (event) => {
  event.preventDefault();
  $("error").textContent = "";
  send({ type: "rename", name: $("new-name").value });
};

$("leave").onclick = () => {
  sessionStorage.removeItem("name");
  clearTimeout(waiting);
  leaving = true;
  $("log").replaceChildren();
  if (!send({ type: "leave" })) {
    leaving = false;
    if (socket) socket.onclose = null;
    socket?.close();
    socket = null;
    me = "";
    showDoor();
  }
};

const known = sessionStorage.getItem("name"); // of this tab, before it was loaded again
if (known) {
  wanted = $("name").value = known;
  connect();
}
