/**
 * Every rule of a call, without a socket or a clock: requests, replies, and patience.
 *
 * The daemon answers every call before its deadline, but a client must not hang when there is no daemon either. So a call has two
 * waits of its own: at most `HANDOVER` seconds until a broker has the request (after that it is `unreachable`, and certainly not
 * sent), then the call's timeout and a `MARGIN` more for the answer (after that an action may have been carried out).
 */

import { AmidError } from "./error.js";
import { pack, unpack } from "./wire.js";

/** Seconds until a broker must have a request. */
export const HANDOVER = 1;
/** Seconds that an answer may come after the call's timeout, for the way to the broker and back. */
const MARGIN = 1;
/** Seconds that a call may take unless its caller says otherwise; the daemon has the same default. */
export const TIMEOUT = 5;
/** The longest timeout that the daemon accepts, in seconds. */
const LONGEST = 3600;

/** The methods that change something. */
const ACTING = new Set(["action", "restart"]);

/**
 * A call before it has an id.
 *
 * @typedef {object} Call
 * @property {string} method
 * @property {{ [name: string]: any }} params
 * @property {number} patience seconds to wait for its answer
 */

/**
 * @param {string} method
 * @param {{ [name: string]: any }} params
 * @param {number} timeout seconds; one that the daemon will refuse is refused soon, so its answer is worth waiting for
 * @returns {Call}
 */
export function call(method, params, timeout) {
  const sound = typeof timeout === "number" && timeout > 0 && timeout <= LONGEST;
  return { method, params, patience: (sound ? timeout : TIMEOUT) + MARGIN };
}

/**
 * The body of a call's message. Throws `invalid_params` for a value that has no place in one.
 *
 * @param {number} id
 * @param {Call} call
 */
export function request(id, { method, params }) {
  try {
    return pack({ jsonrpc: "2.0", id, method, params });
  } catch (error) {
    const why = /** @type {Error} */ (error).message;
    throw new AmidError("invalid_params", `${method}: a value cannot be put into a request: ${why}`);
  }
}

/**
 * The reply in a body, or undefined for one that is no reply: that peer is not amid.
 *
 * @param {Buffer} body
 * @returns {{ id?: any, result?: any, error?: any } | undefined}
 */
export function reply(body) {
  try {
    const value = unpack(body);
    return "result" in value || typeof value.error === "object" ? value : undefined;
  } catch {
    return undefined;
  }
}

/**
 * The result in a reply; an error there is thrown.
 *
 * @param {{ result?: any, error?: any }} reply
 */
export function outcome(reply) {
  if (reply.error) throw AmidError.of(reply.error);
  return reply.result;
}

/**
 * The broker has the request and said nothing, although it promises to: it is stopped, or was replaced meanwhile.
 *
 * @param {Call} call
 * @param {string} endpoint
 * @param {boolean} closed whether it is the client that did not wait
 */
export function noAnswer({ method, params, patience }, endpoint, closed) {
  const what = method === "action" ? `action ${params.action}` : method;
  const when = closed ? "before the client was closed" : `within ${patience} s: see \`amid status\``;
  const message = `the daemon at ${endpoint} took ${what} and gave no answer ${when}`;
  return new AmidError("timeout", message, { sent: ACTING.has(method), server: params.server });
}
