/**
 * Names and values that are not UTF-8.
 *
 * A value that is not UTF-8 is a `Buffer`. A header's name is a key of an object, which is always text in JavaScript; so a name
 * that is not UTF-8 is text in which each odd byte is a lone surrogate, U+DC80 to U+DCFF, as amid has it in JSON.
 */

import { isUtf8 } from "node:buffer";

const FIRST = 0xdc00;
const LONE_SURROGATE = /\p{Surrogate}/u;

/**
 * Bytes as text, with a lone surrogate for each byte that is not UTF-8.
 *
 * @param {Uint8Array} bytes
 */
export function textOf(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; ) {
    const character = characterAt(bytes, at);
    text += character ? Buffer.from(character).toString() : String.fromCharCode(FIRST + bytes[at]);
    at += character?.length ?? 1;
  }
  return text;
}

/**
 * The bytes that `textOf` made this text of. Throws a `RangeError` for a surrogate that stands for no byte.
 *
 * @param {string} text
 */
export function bytesOf(text) {
  return Buffer.concat(Array.from(text, (character) => (isOdd(character) ? oddByte(character) : Buffer.from(character))));
}

/**
 * Whether some of the text stands for bytes that are not UTF-8.
 *
 * @param {string} text
 */
export function isOdd(text) {
  return LONE_SURROGATE.test(text);
}

/**
 * @param {Uint8Array} bytes
 * @param {number} at
 */
function characterAt(bytes, at) {
  return [1, 2, 3, 4].map((length) => bytes.subarray(at, at + length)).find(isUtf8);
}

/** @param {string} surrogate */
function oddByte(surrogate) {
  const byte = surrogate.charCodeAt(0) - FIRST;
  if (byte < 0x80 || byte > 0xff) throw new RangeError(`a lone surrogate that stands for no byte: ${JSON.stringify(surrogate)}`);
  return Buffer.of(byte);
}
