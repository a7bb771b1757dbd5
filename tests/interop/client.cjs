// client.cjs URL CERTIFICATE COMPRESS: sends the messages on stdin (JSON: texts, and bytes as lists of numbers) one after
// the other, each after the echo of the one before, then closes; prints what it saw as JSON.
const fs = require("node:fs");
const WebSocket = require("ws");

const [url, certificate, compress] = process.argv.slice(2);
const messages = JSON.parse(fs.readFileSync(0, "utf8"));
const ws = new WebSocket(url, ["chat.v2"], {
  ca: certificate ? fs.readFileSync(certificate) : undefined,
  perMessageDeflate: compress === "yes",
});
const echoes = [];
const sendNext = () => {
  const message = messages[echoes.length];
  if (message === undefined) ws.close(4001, "done");
  else ws.send(typeof message === "string" ? message : Buffer.from(message));
};
ws.on("open", () => {
  ws.ping("are you there");
});
ws.on("pong", (data) => {
  if (data.toString() === "are you there") sendNext();
});
ws.on("message", (data, isBinary) => {
  echoes.push(isBinary ? [...data] : data.toString());
  sendNext();
});
ws.on("close", (code, reason) => {
  console.log(
    JSON.stringify({ echoes, code, reason: reason.toString(), extensions: ws.extensions, protocol: ws.protocol }),
  );
});
