/**
 * One DEALER socket, and the calls that are open on it.
 *
 * With ZMQ_IMMEDIATE nothing is queued for a broker that is not there, so `unreachable` means that nothing was sent. No id is used
 * twice: a reply that comes late goes to no call. The socket is read only while a call is open, so that it does not keep an idle
 * process from ending.
 */

import zmq from "zeromq";

import { AmidError, unreachable } from "./error.js";
import { pack, unpack } from "./wire.js";

/** Until a broker must have a request, and how long an answer may come after the call's timeout, for the way there and back. */
const SEND_TIMEOUT_MS = 1000;
const MARGIN_MS = 1000;
/** Seconds. A longer timeout is refused by the daemon at once, and that answer is worth waiting for. */
const MAX_TIMEOUT = 3600;
const MAX_REQUEST_BYTES = 1024 * 1024;
/** The methods that change something. */
const CHANGING = new Set(["action", "restart"]);

export class Dealer {
  #endpoint;
  #socket = new zmq.Dealer({ linger: 0, immediate: true });
  /** What settles each open call, by its id. */
  #open = new Map();
  #lastId = 0;
  /** The sendings so far; the socket can have one at a time. */
  #sent = Promise.resolve(true);
  #reading = false;

  constructor(endpoint) {
    this.#endpoint = endpoint;
    try {
      this.#socket.connect(endpoint);
    } catch (error) {
      this.close();
      throw unreachable(`no amid daemon answers at ${endpoint}: ${error.message}`);
    }
  }

  /** The result of a call. When the signal is aborted, the daemon is told to cancel it, and the signal's reason is thrown. */
  async ask(method, params, timeout, signal) {
    signal?.throwIfAborted();
    const id = ++this.#lastId;
    const body = request(id, method, params);
    const settled = new Promise((resolve) => this.#open.set(id, resolve));
    const abort = () => {
      this.#open.get(id)?.({ thrown: signal.reason });
      this.#send(request(++this.#lastId, "cancel", { id }));
    };
    signal?.addEventListener("abort", abort);
    try {
      if (!(await this.#send(body))) throw unreachable(`no amid daemon answers at ${this.#endpoint}`);
      this.#read();
      const limit = (timeout > 0 && timeout <= MAX_TIMEOUT ? timeout : 5) * 1000 + MARGIN_MS;
      const reply = (await within(limit, settled)) ?? { thrown: this.#noAnswer(method, params, limit) };
      if ("result" in reply) return reply.result;
      throw reply.thrown ?? AmidError.of(reply.error);
    } finally {
      signal?.removeEventListener("abort", abort);
      this.#open.delete(id);
    }
  }

  /** Its open calls end at once. */
  close() {
    this.#socket.close();
    for (const settle of this.#open.values()) settle();
  }

  #noAnswer(method, params, limit) {
    const what = method === "action" ? `action ${params.action}` : method;
    const why = this.#socket.closed ? "before the client was closed" : `within ${limit / 1000} s: see \`amid status\``;
    const message = `the daemon at ${this.#endpoint} took ${what} and gave no answer ${why}`;
    const known = { sent: CHANGING.has(method), server: params.server };
    return new AmidError(this.#socket.closed ? "cancelled" : "timeout", message, known);
  }

  /** Whether a broker took a message, which has to wait for its turn too. */
  #send(body) {
    const end = performance.now() + SEND_TIMEOUT_MS;
    this.#sent = this.#sent.then(() => {
      const left = Math.ceil(end - performance.now());
      if (left <= 0 || this.#socket.closed) return false;
      this.#socket.sendTimeout = left;
      return this.#socket.send(["", body]).then(() => true, () => false);
    });
    return this.#sent;
  }

  async #read() {
    if (this.#reading || this.#socket.closed) return;
    this.#reading = true;
    for await (const frames of this.#socket) {
      this.#deliver(frames.at(-1));
      if (this.#open.size === 0) break;
    }
    this.#reading = false;
    if (this.#open.size > 0) this.#read();
  }

  /** A reply without an id is about a request that could not be read: certainly this one when only one is open. */
  #deliver(body) {
    const reply = replyIn(body);
    const id = reply && reply.id == null && this.#open.size === 1 ? this.#open.keys().next().value : reply?.id;
    this.#open.get(id)?.(reply);
    this.#open.delete(id);
  }
}

function request(id, method, params) {
  try {
    const body = pack({ jsonrpc: "2.0", id, method, params });
    if (body.length <= MAX_REQUEST_BYTES) return body;
  } catch (error) {
    throw new AmidError("invalid_params", `${method}: a value cannot be put into a request: ${error.message}`);
  }
  throw new AmidError("invalid_request", `${method}: the request is larger than ${MAX_REQUEST_BYTES} bytes`);
}

/** Undefined for what is no reply. */
function replyIn(body) {
  try {
    const value = unpack(body);
    return "result" in value || typeof value.error === "object" ? value : undefined;
  } catch {
    return undefined;
  }
}

/** What a promise gives, or undefined when that takes too long. */
export function within(milliseconds, promise) {
  if (milliseconds === Infinity) return promise;
  let timer;
  const late = new Promise((resolve) => (timer = setTimeout(resolve, milliseconds)));
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
