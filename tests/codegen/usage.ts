// What an application does with its client, against a running server: node usage.js URL SCENARIO

import { Client, ConnectionClosed, QueueFull, RequestError, RequestTimeout } from "./client.js";
import type { Draw, State } from "./client.js";

declare const process: { argv: string[]; exit(code: number): never; stdout: { write(text: string): void } };

function sorted(value: unknown): unknown {
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
  return isObject ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))) : value;
}

function equal(got: unknown, wanted: unknown): void {
  const [left, right] = [got, wanted].map((value) => JSON.stringify(value, (_, inner: unknown) => sorted(inner)));
  if (left !== right) throw new Error(`got ${left}, wanted ${right}`);
}

async function fails<T extends Error>(kind: abstract new (...rest: never[]) => T, promise: Promise<unknown>): Promise<T> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof kind) return error;
    throw error;
  }
  throw new Error(`it should have been a ${kind.name}`);
}

function reached(connection: { state: State; onState(listener: (state: State) => void): () => void }, wanted: State) {
  return new Promise<void>((resolve) => {
    if (connection.state === wanted) resolve();
    connection.onState((state) => state === wanted && resolve());
  });
}

async function endpoints(url: string): Promise<void> {
  const client = new Client(url);
  const chat = client.chat({ room: "a/b ä", loud: true });
  const heard = await chat.request({ text: "hello", mood: "calm", "reply-to": 1 });
  equal(heard, { at: "2030-01-02T00:00:00", loud: true, room: "a/b ä", text: "hello" });
  const refused = await fails(RequestError, chat.request({ text: "refuse" }));
  equal([refused.code, refused.message], ["REFUSED_HERE", "No such words"]);
  chat.send({ text: "one" }); // its answer is a message, and the request's is its own
  equal((await chat.request({ text: "two" })).text, "two");
  for await (const message of chat) {
    equal(message.text, "one");
    break;
  }

  const board = client.board();
  const line: Draw = { type: "draw", points: [[0, 1], [2, 3]] };
  const twice: unknown[] = [];
  const both = new Promise<void>((resolve) => board.onMessage((message) => twice.push(message) === 2 && resolve()));
  board.send(line); // it waits until there is a connection
  await both;
  equal(twice, [line, line]);

  const raw = client.raw();
  equal(await raw.request("text"), "text");
  const bytes = await raw.request(new Uint8Array([1, 2, 255]));
  equal(bytes instanceof Uint8Array && [...bytes], [1, 2, 255]);

  const echo = client.echo();
  equal((await echo.request({ message: "hello" })).data.reports, [{ echo: "hello" }]);
  equal((await fails(RequestError, echo.request({ message: "fail" }))).code, "NOT_TODAY");

  const upper = client.upperCase({ a: 1 });
  const loud = new Promise((resolve) => upper.onMessage(resolve));
  upper.send("quiet");
  equal(await loud, "QUIET");
  await client.close();
  equal([chat.state, board.state], ["over", "over"]);
  await fails(ConnectionClosed, chat.waitConnected());
}

async function rest(url: string): Promise<void> {
  const client = new Client(url);
  equal((await client.rest.postSum({ numbers: [1, 2], start: 3 })).reports, [6]);
  equal((await client.rest.getSum({ numbers: [4, 5] })).reports, [9]);
  const made = await client.rest.register({ username: "ann", password: "correct horse" });
  equal(made.username, "ann");
  const nobody = await fails(RequestError, client.rest.me());
  equal([nobody.code, nobody.status], ["UNAUTHORIZED", 401]);
  const ann = new Client(url, { token: async () => made.token });
  equal((await ann.rest.me()).root_id, made.root_id);
  const wrong = await fails(RequestError, client.rest.postSum({ numbers: ["1"] as unknown as number[] }));
  equal([wrong.code, wrong.status, wrong.path], ["VALIDATION_ERROR", 422, "$.numbers[0]"]);
  equal(await client.rest.postNotesByTopic({ topic: "x y", text: "t" }), { topic: "x y", text: "t" });
  const kept = await client.rest.postUploadByFolder({ folder: "f", label: "l", file: new File(["content"], "a.txt") });
  equal(kept.reports, [["f", "l", "a.txt", "content"]]);

  const secret = ann.secret();
  equal(await secret.request({ a: 1, b: 2 }), { user: "ann", count: "2" });
  const events = ann.events;
  await events.waitConnected();
  const deleted = new Promise((resolve) => events.onMessage(resolve));
  equal(await events.call.delete_all(), []);
  equal(await deleted, { deleted: "ann" });
  equal(events.whereabouts?.root_id, made.root_id);
  equal((await events.changeUser(null)).root_id === made.root_id, false);
  const error = await fails(RequestError, events.call.delete_all());
  equal(error.code, "REFUSED");
  await ann.close();
}

async function events(url: string): Promise<void> {
  const [ann, bob] = [new Client(url), new Client(url)];
  equal(await ann.events.call.rename({ old: "a", new: "b" }), [{ name: "b" }]);
  equal(await ann.events.call.Sum({ numbers: [1, 2] }), [3]);
  equal(await ann.events.call.class({ z: 1, y: 2 }), [["y", "z"]]);
  const same = await fails(RequestError, ann.events.call.rename({ old: "a", new: "a" }));
  equal([same.code, same.message], ["SAME_NAME", "It is called so already"]);
  const empty = await fails(RequestError, ann.events.call.rename({ old: "a", new: "" }));
  equal([empty.code, empty.path], ["VALIDATION_ERROR", "$.new"]);

  await bob.events.subscribe("kitchen");
  await ann.events.subscribe("kitchen");
  ann.events.notifyChannels(["kitchen"], { soup: true });
  for await (const message of bob.events) {
    equal(message, { soup: true });
    break;
  }
  await bob.events.unsubscribe("kitchen");
  ann.events.notifyChannels(["kitchen"], { soup: false });
  ann.events.notifyClients([bob.events.whereabouts?.client_id ?? ""], { direct: 1 });
  for await (const message of bob.events) {
    equal(message, { direct: 1 });
    break;
  }
  const refused = new Promise<RequestError>((resolve) => ann.events.onError(resolve));
  ann.events.notifyUsers(["n::1"], {});
  equal((await refused).message, "Not allowed");
  await Promise.all([ann.close(), bob.close()]);
}

async function reconnect(url: string): Promise<void> {
  const client = new Client(url, { backoffBaseSeconds: 0.05, maxQueue: 2 });
  const chat = client.chat({ room: "r" });
  await client.events.subscribe("kitchen");
  equal((await chat.request({ text: "before" })).text, "before");
  const [chatAway, eventsAway] = [reached(chat, "away"), reached(client.events, "away")];
  process.stdout.write("stop\n");
  await Promise.all([chatAway, eventsAway]);
  const seen: string[] = [];
  chat.onMessage((message) => seen.push(message.text));
  chat.send({ text: "one" });
  chat.send({ text: "two" });
  const full = await fails(QueueFull, new Promise(() => chat.send({ text: "three" })));
  equal(full.name, "QueueFull");
  const asked = chat.request({ text: "after" }); // it waits for the connection, and goes behind what was kept
  process.stdout.write("start\n");
  equal((await asked).text, "after");
  equal(seen, ["one", "two"]);
  const published = new Promise((resolve) => client.events.onMessage(resolve));
  await client.events.call.Sum(); // the subscription went before it
  process.stdout.write("publish\n");
  equal(await published, { soup: 1 });

  const lost = await fails(ConnectionClosed, chat.request({ text: "leave" }));
  equal(lost.closeCode, 1012);
  equal((await chat.request({ text: "again" })).text, "again"); // 1012 brings it back
  await client.close();
}

async function silence(url: string): Promise<void> {
  // A server that answers the first message of each connection too late
  const client = new Client(url, { timeoutSeconds: 0.2, backoffBaseSeconds: 0.01 });
  const chat = client.chat({ room: "r" });
  await chat.waitConnected();
  await fails(RequestTimeout, chat.request({ text: "late" }));
  equal((await chat.request({ text: "now" })).text, "now");
  await client.close();
}

async function final(url: string): Promise<void> {
  const client = new Client(url, { maxAttempts: 2, backoffBaseSeconds: 0.01 });
  const chat = client.chat({ room: "r" });
  await fails(ConnectionClosed, chat.waitConnected());
  const thrown = await fails(ConnectionClosed, (async () => { for await (const _ of chat) throw new Error("a message"); })());
  equal(thrown.closeCode, 1006);
  for (const room of ["", ".", ".."]) await fails(RangeError, new Promise(() => client.chat({ room })));
  await fails(RangeError, new Promise(() => new Client("ftp://example.com")));
}

const scenarios: Record<string, (url: string) => Promise<void>> = { endpoints, rest, events, reconnect, silence, final };
const [url, name] = [process.argv[2] ?? "", process.argv[3] ?? ""];
await scenarios[name]?.(url).then(
  () => process.stdout.write("done\n"),
  (error: unknown) => {
    console.error(error);
    process.exit(1);
  },
);
