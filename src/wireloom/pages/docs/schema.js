/** JSON Schema (2020-12 and draft 7) read for people: names, limits, a value to begin with, what is wrong with a value. */

const MAX_SAMPLE_DEPTH = 5;
const MAX_PROBLEMS = 20;

function find(root, reference) {
  let found = root;
  for (const part of reference.replace(/^#\//, "").split("/")) {
    found = found?.[decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~")];
  }
  return found ?? {};
}

export const targetOf = (root, { $ref }) => find(root, $ref);

const nameOf = (reference) => reference.split("/").pop();

function without(object, key) {
  const copy = { ...object };
  delete copy[key];
  return copy;
}

/** A schema without its outermost reference, and without an allOf of one. */
export function resolve(root, schema) {
  let found = schema;
  for (let steps = 0; steps < 20 && found && typeof found === "object"; steps += 1) {
    if (found.$ref) found = { ...find(root, found.$ref), ...without(found, "$ref") };
    else if (found.allOf?.length === 1) found = { ...resolve(root, found.allOf[0]), ...without(found, "allOf") };
    else break;
  }
  return found && typeof found === "object" ? found : {};
}

export const propertiesOf = (whole) => Object.entries(whole.properties ?? {});

/** The kinds of value that a schema allows one of; undefined: it is of one kind. */
export function armsOf(whole) {
  if (whole.anyOf ?? whole.oneOf) return whole.anyOf ?? whole.oneOf;
  if (Array.isArray(whole.type) && whole.type.length > 1) return whole.type.map((type) => ({ ...without(without(whole, "default"), "description"), type }));
  return undefined;
}

/** The items of a tuple, in the words of either draft. */
export const tupleOf = (whole) => whole.prefixItems ?? (Array.isArray(whole.items) ? whole.items : undefined);

/** The reference that a schema is, alone or with notes beside it. */
export const referenceOf = (schema) => schema?.$ref ?? (schema?.allOf?.length === 1 ? referenceOf(schema.allOf[0]) : undefined);

export function kindOf(root, schema) {
  if (schema === true || schema === undefined) return "anything";
  if (schema === false) return "nothing";
  const reference = referenceOf(schema);
  if (reference) return resolve(root, schema).enum ? kindOf(root, { enum: resolve(root, schema).enum }) : nameOf(reference);
  if (schema.anyOf ?? schema.oneOf) return armsOf(schema).map((arm) => kindOf(root, arm)).join(" | ");
  if ("const" in schema) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (tupleOf(schema)) return `[${tupleOf(schema).map((item) => kindOf(root, item)).join(", ")}]`;
  if (schema.type === "array" && schema.items) return `${kindOf(root, schema.items)}[]`;
  if (schema.format === "binary") return "file";
  if (Array.isArray(schema.type)) return schema.type.join(" | ");
  if (schema.type === "object" && !schema.properties && schema.additionalProperties?.constructor === Object) return `object of ${kindOf(root, schema.additionalProperties)}`;
  return schema.type ?? "anything";
}

function spanOf(least, most, thing) {
  if (most === undefined) return `at least ${least} ${thing}${least === 1 ? "" : "s"}`;
  return least ? `${least} to ${most} ${thing}s` : `at most ${most} ${thing}s`;
}

const LIMITS = {
  minimum: (value) => `at least ${value}`, maximum: (value) => `at most ${value}`,
  exclusiveMinimum: (value) => `above ${value}`, exclusiveMaximum: (value) => `below ${value}`,
  minLength: (value, { maxLength }) => spanOf(value, maxLength, "character"), maxLength: (value, { minLength }) => (minLength === undefined ? spanOf(0, value, "character") : null),
  minItems: (value, whole) => (tupleOf(whole) ? null : spanOf(value, whole.maxItems, "item")), maxItems: (value, whole) => (whole.minItems === undefined && !tupleOf(whole) ? spanOf(0, value, "item") : null),
  pattern: (value) => `matches ${value}`, format: (value) => value, multipleOf: (value) => `multiple of ${value}`,
  default: (value) => `default ${JSON.stringify(value)}`,
};

export function limitsOf(whole) {
  return Object.entries(LIMITS).filter(([key]) => key in whole && whole[key] !== null && whole[key] !== "binary").map(([key, say]) => say(whole[key], whole)).filter(Boolean).join(", ");
}

/** What may be opened below a schema, by name: the objects that it leads to. */
export function partsOf(root, schema) {
  const parts = [];
  const look = (one) => {
    if (!one || typeof one !== "object") return;
    const whole = resolve(root, one);
    if (propertiesOf(whole).length) parts.push([referenceOf(one) ? nameOf(referenceOf(one)) : whole.title ?? "fields", whole]);
    else if (whole.anyOf ?? whole.oneOf) armsOf(whole).forEach(look);
    else if (whole.type === "array") [tupleOf(whole) ?? whole.items].flat().forEach(look);
    else if (typeof whole.additionalProperties === "object") look(whole.additionalProperties);
  };
  look(schema);
  return parts;
}

/** A value to begin with; a `lean` one has no more than it must. Of several kinds it takes one that is not within itself. */
export function sampleOf(root, schema, { depth = 0, lean = false, within = [] } = {}) {
  const inner = { depth: depth + 1, lean, within: [...within, referenceOf(schema)].filter(Boolean) };
  const whole = resolve(root, schema);
  if (whole.examples?.length) return whole.examples[0];
  if ("default" in whole) return whole.default;
  if ("const" in whole) return whole.const;
  if (whole.enum) return whole.enum[0];
  const arms = armsOf(whole);
  if (arms) {
    const others = arms.filter((arm) => arm.type !== "null");
    return sampleOf(root, others.find((arm) => !inner.within.includes(referenceOf(arm))) ?? others[0] ?? {}, inner);
  }
  const kind = Array.isArray(whole.type) ? whole.type[0] : whole.type;
  if (kind === "object" || whole.properties) return depth > MAX_SAMPLE_DEPTH ? {} : sampleObject(root, whole, inner);
  if (kind === "array") return depth > MAX_SAMPLE_DEPTH ? [] : sampleArray(root, whole, inner);
  return { string: "", integer: whole.minimum ?? 0, number: whole.minimum ?? 0, boolean: false, null: null }[kind] ?? {};
}

function sampleObject(root, whole, inner) {
  const required = whole.required ?? [];
  const wanted = propertiesOf(whole).filter(([name, field]) => required.includes(name) || (!inner.lean && (resolve(root, field).default ?? null) !== null));
  return Object.fromEntries(wanted.map(([name, field]) => [name, sampleOf(root, field, inner)]));
}

function sampleArray(root, whole, inner) {
  if (tupleOf(whole)) return tupleOf(whole).map((item) => sampleOf(root, item, inner));
  return whole.minItems > 0 ? [sampleOf(root, whole.items ?? {}, inner)] : [];
}

// -- what is wrong with a value; the server decides, this is a hint --

const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);

const TYPES = {
  object: (value) => value !== null && typeof value === "object" && !Array.isArray(value),
  array: Array.isArray,
  string: (value) => typeof value === "string",
  number: (value) => typeof value === "number",
  integer: Number.isInteger,
  boolean: (value) => typeof value === "boolean",
  null: (value) => value === null,
};

function matches(pattern, text) {
  try {
    return new RegExp(pattern, "u").test(text);
  } catch {
    return true; // an expression of another dialect
  }
}

const RULES = {
  const: (want, value) => same(want, value) || `must be ${JSON.stringify(want)}`,
  enum: (want, value) => want.some((each) => same(each, value)) || `must be one of ${want.map((each) => JSON.stringify(each)).join(", ")}`,
  type: (want, value) => [want].flat().some((type) => TYPES[type]?.(value) ?? true) || `must be ${[want].flat().join(" or ")}`,
  minLength: (want, value) => !TYPES.string(value) || [...value].length >= want || spanOf(want, undefined, "character"),
  maxLength: (want, value) => !TYPES.string(value) || [...value].length <= want || spanOf(0, want, "character"),
  pattern: (want, value) => !TYPES.string(value) || matches(want, value) || `must match ${want}`,
  minimum: (want, value) => !TYPES.number(value) || value >= want || `at least ${want}`,
  maximum: (want, value) => !TYPES.number(value) || value <= want || `at most ${want}`,
  exclusiveMinimum: (want, value) => !TYPES.number(value) || value > want || `above ${want}`,
  exclusiveMaximum: (want, value) => !TYPES.number(value) || value < want || `below ${want}`,
  minItems: (want, value) => !TYPES.array(value) || value.length >= want || spanOf(want, undefined, "item"),
  maxItems: (want, value) => !TYPES.array(value) || value.length <= want || spanOf(0, want, "item"),
};

/** What is wrong with a value, as `[path, message]`. */
export function problemsOf(root, schema, value, path = "$", depth = 0) {
  if (schema === true || schema === undefined || depth > 40) return [];
  if (schema === false) return [[path, "must not be there"]];
  const whole = resolve(root, schema);
  const found = Object.entries(RULES).filter(([key]) => key in whole).map(([key, check]) => check(whole[key], value)).filter((told) => told !== true).map((told) => [path, told]);
  if (found.length) return found.slice(0, 1);
  const inner = [...problemsOfArms(root, whole, value, path, depth), ...problemsInside(root, whole, value, path, depth)];
  return inner.slice(0, MAX_PROBLEMS);
}

function problemsOfArms(root, whole, value, path, depth) {
  const arms = whole.anyOf ?? whole.oneOf;
  if (!arms) return [];
  const each = arms.map((arm) => problemsOf(root, arm, value, path, depth + 1));
  if (each.some((problems) => !problems.length)) return [];
  const near = each.filter(([problem]) => problem[0] !== path); // of the right kind, with something wrong inside
  return near.length === 1 ? near[0] : [[path, `fits none of ${arms.map((arm) => kindOf(root, arm)).join(", ")}`]];
}

function problemsInside(root, whole, value, path, depth) {
  if (TYPES.object(value)) return problemsOfMembers(root, whole, value, path, depth);
  if (!TYPES.array(value)) return [];
  const tuple = tupleOf(whole);
  return value.flatMap((item, index) => {
    const schema = tuple ? tuple[index] : whole.items;
    return problemsOf(root, schema, item, `${path}[${index}]`, depth + 1);
  });
}

function problemsOfMembers(root, whole, value, path, depth) {
  const known = whole.properties ?? {};
  const missing = (whole.required ?? []).filter((name) => !Object.hasOwn(value, name)).map((name) => [`${path}.${name}`, "is required"]);
  const wrong = Object.entries(value).flatMap(([name, member]) => {
    const schema = Object.hasOwn(known, name) ? known[name] : whole.additionalProperties;
    return problemsOf(root, schema, member, `${path}.${name}`, depth + 1);
  });
  return [...missing, ...wrong];
}
