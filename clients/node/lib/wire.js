/**
 * MessagePack, as requests and replies have it.
 *
 * A value that is not UTF-8 is a `Buffer`. A header's name is a key of an object, which is always text in JavaScript, so each odd
 * byte of it is a lone surrogate, U+DC80 to U+DCFF, as amid has it in JSON.
 */

import { isUtf8 } from "node:buffer";
import { Decoder, encode } from "@msgpack/msgpack";

const ARRAY_32 = 0xdd;
const MAP_32 = 0xdf;
const FIRST_SURROGATE = 0xdc00;
const LONE_SURROGATE = /\p{Surrogate}/u;
const PROTO = "__proto__";
/** No header's name has a NUL. */
const IN_ITS_PLACE = `\0${PROTO}`;

/**
 * The library refuses a key `__proto__`, which may be a header's name like any other: with such an event, anybody could blind
 * every client. So it is decoded under another name, and put right by `restored`.
 */
const decoder = new Decoder({
  keyDecoder: { canBeCached: (length) => length === PROTO.length, decode: keyAt },
  mapKeyConverter: (key) => (key instanceof Uint8Array ? textOf(key) : key),
});

/**
 * A map is an object or a `Map`; undefined values in it are left out. Text with odd bytes becomes a `bin`. The library has only
 * text as keys, so lists and maps are put together here.
 */
export function pack(value) {
  if (typeof value === "string") return encode(isOdd(value) ? bytesOf(value) : value);
  if (Array.isArray(value)) return Buffer.concat([head(ARRAY_32, value.length), ...value.map(pack)]);
  if (!isMap(value)) return encode(value);
  const set = [...(value instanceof Map ? value : Object.entries(value))].filter(([, one]) => one !== undefined);
  return Buffer.concat([head(MAP_32, set.length), ...set.flat().map(pack)]);
}

/** A `bin` becomes a `Buffer`, and as a key the text that `textOf` makes of it. */
export function unpack(message) {
  const value = decoder.decode(message);
  return message.includes(PROTO) ? restored(value) : value;
}

function head(type, length) {
  const bytes = Buffer.alloc(5, type);
  bytes.writeUInt32BE(length, 1);
  return bytes;
}

const isMap = (value) => value !== null && typeof value === "object" && !ArrayBuffer.isView(value);

function keyAt(bytes, at, length) {
  const key = Buffer.from(bytes.subarray(at, at + length)).toString();
  return key === PROTO ? IN_ITS_PLACE : key;
}

/** `fromEntries` makes `__proto__` a member of its own, where an assignment would set the object's prototype. */
function restored(value) {
  if (Array.isArray(value)) return value.map(restored);
  if (!isMap(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key === IN_ITS_PLACE ? PROTO : key, restored(one)]));
}

export function textOf(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; ) {
    const character = [1, 2, 3, 4].map((length) => bytes.subarray(at, at + length)).find(isUtf8);
    text += character ? Buffer.from(character).toString() : String.fromCharCode(FIRST_SURROGATE + bytes[at]);
    at += character?.length ?? 1;
  }
  return text;
}

export function bytesOf(text) {
  return Buffer.concat(Array.from(text, (character) => (isOdd(character) ? oddByte(character) : Buffer.from(character))));
}

/** Whether some of the text stands for bytes that are not UTF-8. */
export const isOdd = (text) => LONE_SURROGATE.test(text);

function oddByte(surrogate) {
  const byte = surrogate.charCodeAt(0) - FIRST_SURROGATE;
  if (byte < 0x80 || byte > 0xff) throw new RangeError(`a lone surrogate that stands for no byte: ${JSON.stringify(surrogate)}`);
  return Buffer.of(byte);
}
