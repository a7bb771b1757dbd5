// What must not compile: tsc itself tells where one of these does.

import { Client } from "./client.js";

const client = new Client("http://localhost");
const chat = client.chat({ room: "r" });

// @ts-expect-error: a parameter of the path is missing
client.chat({});
// @ts-expect-error: the query parameter has another type
client.chat({ room: "r", loud: "very" });
// @ts-expect-error: there is no such query parameter
client.chat({ room: "r", quiet: true });
// @ts-expect-error: the text is missing
chat.send({ mood: "calm" });
// @ts-expect-error: there is no such mood
chat.send({ text: "t", mood: "sad" });
// @ts-expect-error: there is no such member
chat.send({ text: "t", colour: "red" });
// @ts-expect-error: messages have no such member
chat.onMessage((message) => message.colour);
// @ts-expect-error: it streams, so there is not one answer
client.board().request({ type: "wipe", confirm: true });
// @ts-expect-error: only true confirms
client.board().send({ type: "wipe", confirm: false });
// @ts-expect-error: a point has two coordinates
client.board().send({ type: "draw", points: [[1, 2, 3]] });
// @ts-expect-error: within it, too
client.folders().send({ name: "a", folders: [{ name: 1 }] });
// @ts-expect-error: there is no such event
client.events.call.remove({});
// @ts-expect-error: a member of the context is missing
client.events.call.rename({ old: "a" });
// @ts-expect-error: numbers
client.rest.postSum({ numbers: ["1"] });
// @ts-expect-error: a file, not a text
client.rest.postUploadByFolder({ folder: "f", label: "l", file: "content" });
client.events.call.rename({ old: "a", new: "b" }).then(([renamed]) => {
  // @ts-expect-error: a text
  const wrong: number | undefined = renamed?.name;
  return wrong;
});
