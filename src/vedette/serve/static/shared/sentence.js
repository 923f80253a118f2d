// A message of the server, rendered in the person's language: the same rules as vedette/language/message.py. No I/O here.

/** @typedef {string | number | boolean | null | Message | (string | Message)[]} Parameter */
/**
 * A sentence as a code and its values (serve/documents.py).
 * @typedef {object} Message
 * @property {string} code
 * @property {Record<string, Parameter>} params
 */
/** @typedef {Record<string, string | string[]>} Table A sentence for each code, or a sentence and a hint. */

const MIB = 1024 ** 2;
const GIB = 1024 ** 3;
const LEAST_GIB = Math.floor(GIB / 10);
const SPREAD_BYTES = 4 * MIB;
/** @type {Record<string, string>} */
const SEPARATORS = { en: ", ", zh: "、" };

/**
 * The sentence. Throws for a code or a parameter that the table does not have.
 * @param {Message} message
 * @param {Table} table
 * @param {string} language
 * @returns {string}
 */
export function say(message, table, language) {
  return fill(entryOf(message, table)[0], message, table, language);
}

/**
 * What to do next; empty where the table has no hint for this code.
 * @param {Message} message
 * @param {Table} table
 * @param {string} language
 */
export function hintOf(message, table, language) {
  return fill(entryOf(message, table)[1] ?? "", message, table, language);
}

/**
 * @param {Message} message
 * @param {Table} table
 */
function entryOf(message, table) {
  if (!Object.hasOwn(table, message.code)) throw new Error(`The table has no ${message.code}.`);
  const entry = table[message.code];
  return typeof entry === "string" ? [entry] : entry;
}

const PLACE = /\{\{|\}\}|\{(\w+)(?::([^{}]*))?\}/g;

/**
 * @param {string} template
 * @param {Message} message
 * @param {Table} table
 * @param {string} language
 */
function fill(template, { code, params }, table, language) {
  return template.replace(PLACE, (place, name, form = "") => {
    if (name === undefined) return place[0];
    if (!Object.hasOwn(params, name)) throw new Error(`${code} came without ${name}.`);
    return shown(name, params[name], form, (each) => say(each, table, language), SEPARATORS[language]);
  });
}

/**
 * @param {string} name
 * @param {Parameter} value
 * @param {string} form What stands behind the colon of a place.
 * @param {(message: Message) => string} tell
 * @param {string} separator
 * @returns {string}
 */
function shown(name, value, form, tell, separator) {
  if (value === null) return "";
  if (typeof value === "string") return plain(value);
  if (Array.isArray(value))
    return value.map((each) => (typeof each === "string" ? plain(each) : tell(each))).join(separator);
  if (typeof value === "object") return tell(value);
  const number = Number(value);
  if (form === "missing") return missingSize(number);
  if (form) return formatted(number, form);
  if (name.endsWith("_bytes")) return size(number);
  if (name.endsWith("_s")) return duration(number);
  return grouped(String(number));
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it looks for
const UNSAFE = /[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f\ud800-\udfff]/gu;
/** @type {Record<string, string>} */
const SHORT = { "\n": "\\n", "\r": "\\r" };

/** Text from elsewhere on one line, with escapes for what would reorder it. @param {string} text */
function plain(text) {
  return text.replace(UNSAFE, (character) => {
    const code = character.charCodeAt(0);
    const digits = code.toString(16);
    return SHORT[character] ?? (code < 0x100 ? `\\x${digits.padStart(2, "0")}` : `\\u${digits.padStart(4, "0")}`);
  });
}

/** A size as a person reads it. @param {number} bytes @returns {string} */
function size(bytes) {
  if (bytes < 0) return `-${size(-bytes)}`;
  if (bytes >= LEAST_GIB) return `${fixed(bytes / GIB, 2)} GiB`;
  if (bytes >= MIB || bytes === 0) return `${fixed(bytes / MIB, 0)} MiB`;
  return "< 1 MiB";
}

/** Memory to be freed, rounded up, with a margin. @param {number} bytes */
function missingSize(bytes) {
  const wanted = bytes + SPREAD_BYTES;
  if (wanted < LEAST_GIB) return `${Math.ceil(wanted / MIB)} MiB`;
  return `${fixed(Math.ceil((wanted * 100) / GIB) / 100, 2)} GiB`;
}

/** A duration as a person reads it. @param {number} seconds */
function duration(seconds) {
  if (seconds < 60) return `${fixed(seconds, 1)} s`;
  const whole = Number(fixed(seconds, 0));
  const minutes = Math.floor(whole / 60);
  return minutes < 60 ? `${minutes} min ${whole % 60} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/**
 * A number by one of Python's format specifications that the tables use: `d`, `,`, `.2f`, `,.0f`.
 * @param {number} number
 * @param {string} form
 */
function formatted(number, form) {
  const parts = form.match(/^(,?)(?:d|\.(\d+)f)?$/);
  if (!parts) throw new Error(`No number is written as ${form}.`);
  const [, comma, digits] = parts;
  const text = digits === undefined ? String(number) : fixed(number, Number(digits));
  return comma ? grouped(text) : text;
}

/**
 * With so many decimals. A tie goes to the even digit, as in Python; `toFixed` would round it away from zero.
 * @param {number} number
 * @param {number} digits
 */
function fixed(number, digits) {
  const text = number.toFixed(digits);
  const exact = Math.abs(number).toFixed(100); // long enough to show every tie as it is
  const isTie = /^50*$/.test(exact.slice(exact.indexOf(".") + 1 + digits));
  if (!isTie || Number(text.at(-1)) % 2 === 0) return text;
  const sign = number < 0 ? "-" : "";
  return sign + exact.slice(0, exact.indexOf(".") + (digits ? 1 + digits : 0));
}

/** With commas between thousands. @param {string} text */
function grouped(text) {
  return text.replace(/^-?\d+/, (whole) => whole.replace(/\B(?=(\d{3})+$)/g, ","));
}
