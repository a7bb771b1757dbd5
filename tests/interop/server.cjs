// server.cjs CERTIFICATE KEY COMPRESS: echoes on a free port, which it prints; ends with stdin.
const fs = require("node:fs");
const http = require("node:http");
const https = require("node:https");
const { WebSocketServer } = require("ws");

const [certificate, key, compress] = process.argv.slice(2);
const server = certificate
  ? https.createServer({ cert: fs.readFileSync(certificate), key: fs.readFileSync(key) })
  : http.createServer();
const websockets = new WebSocketServer({ server, perMessageDeflate: compress === "yes" ? { threshold: 0 } : false });
websockets.on("connection", (ws) => {
  ws.on("message", (data, isBinary) => ws.send(data, { binary: isBinary }));
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.resume().on("end", () => process.exit(0));
