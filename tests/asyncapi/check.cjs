// Reads AsyncAPI documents from standard input, a JSON array, and writes what is wrong with each, a JSON array of arrays.
const { Parser } = require("@asyncapi/parser");

async function main() {
  let text = "";
  for await (const part of process.stdin) text += part;
  const parser = new Parser();
  const found = [];
  for (const document of JSON.parse(text)) {
    const { diagnostics } = await parser.parse(document);
    const errors = diagnostics.filter((each) => each.severity === 0);
    found.push(errors.map((each) => `${each.path.join(".")}: ${each.message}`));
  }
  process.stdout.write(JSON.stringify(found));
}

main();
