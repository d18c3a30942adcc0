/** How requests, replies and events look on the sockets, and nothing else. The contract is clients/README.md. */

import { Decoder, encode } from "@msgpack/msgpack";

import { bytesOf, isOdd, textOf } from "./text.js";

export const TICK = "amid:tick";

const ARRAY_32 = 0xdd;
const MAP_32 = 0xdf;

const PROTO = "__proto__";
/** No header's name has a NUL. */
const IN_ITS_PLACE = `\0${PROTO}`;

/**
 * MessagePack refuses a key `__proto__`, which may be a header's name like any other: whoever could make such an event could blind
 * every client with it. So it is decoded under another name, and put right by `restored`.
 */
const decoder = new Decoder({
  keyDecoder: { canBeCached: (length) => length === PROTO.length, decode: keyAt },
  mapKeyConverter: (key) => (key instanceof Uint8Array ? textOf(key) : /** @type {string} */ (key)),
});

/** @param {string} server */
export const streamTopic = (server) => `stream.${server}.`;

/**
 * The final dot makes it exactly this name: ZeroMQ subscribes to prefixes.
 *
 * @param {string} server
 * @param {string} name
 */
export const eventTopic = (server, name) => `event.${server}.${name}.`;

/** @param {string} server */
export const tickTopic = (server) => `tick.${server}.`;

/**
 * MessagePack. A map is an object or a `Map`; what is undefined in it is left out. Text with odd bytes goes out as `bin`.
 *
 * The library has text as keys only, so lists and maps are put together here.
 *
 * @param {any} value
 * @returns {Uint8Array}
 */
export function pack(value) {
  if (typeof value === "string") return encode(isOdd(value) ? bytesOf(value) : value);
  if (Array.isArray(value)) return Buffer.concat([head(ARRAY_32, value.length), ...value.map(pack)]);
  if (isMap(value)) return packMap(value instanceof Map ? [...value] : Object.entries(value));
  return encode(value);
}

/**
 * The value in a MessagePack message. A `bin` is a `Buffer`, and as a key the text that `textOf` makes of it.
 *
 * @param {Buffer} message
 * @returns {any}
 */
export function unpack(message) {
  const value = decoder.decode(message);
  return message.includes(PROTO) ? restored(value) : value;
}

/** @param {[any, any][]} entries */
function packMap(entries) {
  const set = entries.filter(([, value]) => value !== undefined);
  return Buffer.concat([head(MAP_32, set.length), ...set.flat().map(pack)]);
}

/**
 * @param {number} type
 * @param {number} length
 */
function head(type, length) {
  const bytes = Buffer.alloc(5, type);
  bytes.writeUInt32BE(length, 1);
  return bytes;
}

/** @param {any} value */
function isMap(value) {
  return value !== null && typeof value === "object" && !ArrayBuffer.isView(value);
}

/**
 * @param {Uint8Array} bytes
 * @param {number} at
 * @param {number} length
 */
function keyAt(bytes, at, length) {
  const key = Buffer.from(bytes.subarray(at, at + length)).toString();
  return key === PROTO ? IN_ITS_PLACE : key;
}

/**
 * `fromEntries` makes `__proto__` a member of its own, where an assignment would set the object's prototype.
 *
 * @param {any} value
 * @returns {any}
 */
function restored(value) {
  if (Array.isArray(value)) return value.map(restored);
  if (!isMap(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key === IN_ITS_PLACE ? PROTO : key, restored(one)]));
}
