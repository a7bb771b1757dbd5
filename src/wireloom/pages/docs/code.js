/** What was set up on the page as code: Python, JavaScript and curl. Law: a token is never in it. */

const MAX_INLINE_BYTES = 4096;
const TOKEN = "WIRELOOM_TOKEN";
const API_KEY = "WIRELOOM_API_KEY";
const SECRET = "WIRELOOM_SIGNING_SECRET";
const JS_TOKEN = `const token = globalThis.process?.env.${TOKEN} ?? "YOUR TOKEN";`;

const indent = (text, by) => text.replaceAll("\n", `\n${" ".repeat(by)}`);

/** A JSON value in Python. A text in JSON is one in Python, too. */
export function pythonOf(value, depth = 0) {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value !== "object") return JSON.stringify(value);
  const pad = "    ".repeat(depth + 1);
  const end = "    ".repeat(depth);
  const items = Array.isArray(value) ? value.map((item) => pythonOf(item, depth + 1)) : Object.entries(value).map(([name, item]) => `${JSON.stringify(name)}: ${pythonOf(item, depth + 1)}`);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  const flat = open + items.join(", ") + close;
  if (!items.length || (flat.length + end.length < 80 && !flat.includes("\n"))) return flat;
  return `${open}\n${items.map((item) => `${pad}${item},\n`).join("")}${end}${close}`;
}

export const hexOf = (bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");

/** The JSON value of a text, or undefined: then the text itself is sent. */
function valueOf(message) {
  if (message.kind !== "json") return undefined;
  try {
    const value = JSON.parse(message.text);
    return /\d{16,}/.test(message.text) ? undefined : value;
  } catch {
    return undefined;
  }
}

// -- WebSocket --

/** @param to `url`, `protocols`, `token` (whether one is sent) and `message` (`kind`, and `text` or `bytes`). */
export function pythonSocket(to) {
  const options = [];
  if (to.protocols.length) options.push(`subprotocols=[${to.protocols.map((each) => JSON.stringify(each)).join(", ")}]`);
  if (to.token) options.push('headers={"Authorization": f"Bearer {TOKEN}"}');
  const value = valueOf(to.message);
  const send = value !== undefined ? `await ws.send_json(${indent(pythonOf(value), 8)})` : `await ws.send(${pythonPayload(to.message)})`;
  return [
    "import asyncio", ...(to.token ? ["import os"] : []), "", "from wireloom import connect", "",
    `URL = ${JSON.stringify(to.url)}`, ...(to.token ? [`TOKEN = os.environ["${TOKEN}"]`] : []), "", "",
    "async def main() -> None:",
    `    async with connect(${["URL", ...options].join(", ")}) as ws:`,
    `        ${send}`,
    "        async for message in ws:",
    "            print(message)", "", "", "asyncio.run(main())", "",
  ].join("\n");
}

function pythonPayload(message) {
  if (message.kind !== "binary") return JSON.stringify(message.text);
  return message.bytes.length > MAX_INLINE_BYTES ? 'open("message.bin", "rb").read()' : `bytes.fromhex("${hexOf(message.bytes)}")`;
}

export function javaScriptSocket(to) {
  const protocols = [...to.protocols.map((each) => JSON.stringify(each)), ...(to.token ? ['"wireloom.bearer"', "token"] : [])];
  const value = valueOf(to.message);
  const payload = value !== undefined ? `JSON.stringify(${JSON.stringify(value, null, 2)})` : javaScriptPayload(to.message);
  return [
    ...(to.token ? [JS_TOKEN] : []),
    `const ws = new WebSocket(${[JSON.stringify(to.url), ...(protocols.length ? [`[${protocols.join(", ")}]`] : [])].join(", ")});`,
    'ws.binaryType = "arraybuffer";',
    `ws.onopen = () => ws.send(${payload});`,
    "ws.onmessage = (event) => console.log(event.data);",
    "ws.onclose = (event) => console.log(`closed: ${event.code} ${event.reason}`);", "",
  ].join("\n");
}

function javaScriptPayload(message) {
  if (message.kind !== "binary") return JSON.stringify(message.text);
  return message.bytes.length > MAX_INLINE_BYTES ? "new Uint8Array(0) /* put the bytes of your file here */" : `new Uint8Array([${[...message.bytes].join(", ")}])`;
}

// -- HTTP --

/** Headers with the names of environment variables where a secret stands: `[name, before, variable or ""]`. */
function headersOf(to) {
  const headers = [];
  if (to.bearer) headers.push(["Authorization", "Bearer ", TOKEN]);
  if (to.apiKey) headers.push(["X-API-Key", "", API_KEY]);
  if (to.json !== undefined) headers.push(["Content-Type", "application/json", ""]);
  return headers;
}

const shell = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** @param to `method`, `url`, `bearer` and `apiKey` (whether they are sent), `json` (a text) or `form` (`[name, text or File]`), and `signed` for webhooks. */
export function curlOf(to) {
  if (to.signed) return signedCurl(to);
  const parts = [`curl -X ${to.method} ${shell(to.url)}`];
  for (const [name, text, secret] of headersOf(to)) parts.push(`-H ${secret ? `"${name}: ${text}$${secret}"` : shell(`${name}: ${text}`)}`);
  if (to.json !== undefined) parts.push(`--data-raw ${shell(to.json)}`);
  for (const [name, value] of to.form ?? []) parts.push(value instanceof File ? `-F ${shell(`${name}=@${value.name}`)}` : `--form-string ${shell(`${name}=${value}`)}`);
  return `${parts.join(" \\\n  ")}\n`;
}

function signedCurl(to) {
  return [
    `body=${shell(to.json)}`,
    "timestamp=$(date +%s)",
    `signature=$(printf '%s.%s' "$timestamp" "$body" | openssl dgst -sha256 -hmac "$${SECRET}" -r | cut -d ' ' -f 1)`,
    `curl -X ${to.method} ${shell(to.url)} \\\n  -H "X-API-Key: $${API_KEY}" \\\n  -H "X-Webhook-Timestamp: $timestamp" \\\n  -H "X-Webhook-Signature: sha256=$signature" \\\n  -H 'Content-Type: application/json' \\\n  --data-raw "$body"`, "",
  ].join("\n");
}

function signedPython(to) {
  return [
    "import hashlib", "import hmac", "import os", "import time", "", "import httpx", "",
    `body = ${JSON.stringify(to.json)}.encode()`,
    "timestamp = str(int(time.time()))",
    `secret = os.environ["${SECRET}"].encode()`,
    'signature = hmac.new(secret, f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()',
    "headers = {", `    "X-API-Key": os.environ["${API_KEY}"],`, '    "X-Webhook-Timestamp": timestamp,', '    "X-Webhook-Signature": f"sha256={signature}",', '    "Content-Type": "application/json",', "}",
    `response = httpx.request(${JSON.stringify(to.method)}, ${JSON.stringify(to.url)}, headers=headers, content=body)`,
    "print(response.status_code, response.text)", "",
  ].join("\n");
}

function signedJavaScript(to) {
  return [
    'import { createHmac } from "node:crypto"; // in Node: a page would give the secret away', "",
    `const body = ${JSON.stringify(to.json)};`,
    "const timestamp = String(Math.floor(Date.now() / 1000));",
    `const signature = createHmac("sha256", process.env.${SECRET}).update(\`\${timestamp}.\${body}\`).digest("hex");`,
    "const headers = {", `  "X-API-Key": process.env.${API_KEY},`, '  "X-Webhook-Timestamp": timestamp,', '  "X-Webhook-Signature": `sha256=${signature}`,', '  "Content-Type": "application/json",', "};",
    `const response = await fetch(${JSON.stringify(to.url)}, { method: ${JSON.stringify(to.method)}, headers, body });`,
    "console.log(response.status, await response.text());", "",
  ].join("\n");
}

export function pythonRequest(to) {
  if (to.signed) return signedPython(to);
  const headers = headersOf(to).filter(([name]) => name !== "Content-Type" || valueOf({ kind: "json", text: to.json }) === undefined);
  const lines = headers.map(([name, text, secret]) => `    ${JSON.stringify(name)}: ${secret ? (text ? `f"${text}{os.environ['${secret}']}"` : `os.environ["${secret}"]`) : JSON.stringify(text)},`);
  const given = [JSON.stringify(to.method), JSON.stringify(to.url)];
  if (lines.length) given.push(`headers={\n${lines.join("\n")}\n}`);
  if (to.json !== undefined) {
    const value = valueOf({ kind: "json", text: to.json });
    given.push(value !== undefined ? `json=${pythonOf(value)}` : `content=${JSON.stringify(to.json)}`);
  }
  if (to.form) {
    const texts = to.form.filter(([, value]) => !(value instanceof File));
    const files = to.form.filter(([, value]) => value instanceof File);
    given.push(`data={${texts.map(([name, value]) => `${JSON.stringify(name)}: ${JSON.stringify(value)}`).join(", ")}}`);
    given.push(`files=[${files.map(([name, file]) => `(${JSON.stringify(name)}, open(${JSON.stringify(file.name)}, "rb"))`).join(", ")}]`);
  }
  const needs = headers.some(([, , secret]) => secret) ? ["import os", ""] : [];
  return [...needs, "import httpx", "", `response = httpx.request(${given.join(", ")})`, "print(response.status_code, response.text)", ""].join("\n");
}

export function javaScriptRequest(to) {
  if (to.signed) return signedJavaScript(to);
  const headers = headersOf(to).map(([name, text, secret]) => `${JSON.stringify(name)}: ${secret ? `\`${text}\${globalThis.process?.env.${secret} ?? "YOUR SECRET"}\`` : JSON.stringify(text)}`);
  const value = to.json === undefined ? undefined : valueOf({ kind: "json", text: to.json });
  const body = to.json === undefined ? null : value !== undefined ? `JSON.stringify(${indent(JSON.stringify(value, null, 2), 2)})` : JSON.stringify(to.json);
  const options = [`method: ${JSON.stringify(to.method)}`, ...(headers.length ? [`headers: { ${headers.join(", ")} }`] : []), ...(body ? [`body: ${body}`] : []), ...(to.form ? ["body: form"] : [])];
  const form = (to.form ?? []).map(([name, given]) => `form.append(${JSON.stringify(name)}, ${given instanceof File ? `new Blob([/* the content of ${given.name.replaceAll("*/", "* /")} */]), ${JSON.stringify(given.name)}` : JSON.stringify(given)});`);
  return [
    ...(to.form ? ["const form = new FormData();", ...form] : []),
    `const response = await fetch(${JSON.stringify(to.url)}, {`, ...options.map((option) => `  ${option},`), "});",
    "console.log(response.status, await response.text());", "",
  ].join("\n");
}
