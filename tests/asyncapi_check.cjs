// Reads an AsyncAPI document from standard input and writes what is wrong with it as a JSON array of texts.
const { Parser } = require("@asyncapi/parser");

async function main() {
  let text = "";
  for await (const part of process.stdin) text += part;
  const { diagnostics } = await new Parser().parse(text);
  const errors = diagnostics.filter((each) => each.severity === 0);
  process.stdout.write(JSON.stringify(errors.map((each) => `${each.path.join(".")}: ${each.message}`)));
}

main();
