/**
 * One DEALER socket, and the calls that are open on it.
 *
 * With ZMQ_IMMEDIATE nothing is queued for a broker that is not there, and so `unreachable` really means that nothing was sent.
 * The socket of a call that got no answer is used for no further call, and is closed with its last one: what comes late goes to
 * nobody. It is read only while a call is open, so that it does not keep an idle process from its end.
 */

import zmq from "zeromq";

import { HANDOVER, noAnswer, outcome, reply, request } from "./call.js";
import { unreachable } from "./place.js";

export class Dealer {
  #endpoint;
  #socket = new zmq.Dealer({ linger: 0, immediate: true });
  /** @type {Map<number, (reply: any) => void>} what takes the reply to each open call, by its id */
  #open = new Map();
  #lastId = 0;
  /** @type {Promise<any>} the sendings so far; the socket can have one at a time */
  #sent = Promise.resolve();
  #reading = false;
  #retired = false;

  /** @param {string} endpoint */
  constructor(endpoint) {
    this.#endpoint = endpoint;
    try {
      this.#socket.connect(endpoint);
    } catch (error) {
      this.close();
      throw this.#nobody(`: ${/** @type {Error} */ (error).message}`);
    }
  }

  /** Whether it is to be used for no further call. */
  get retired() {
    return this.#retired;
  }

  /** Whether the last call has ended as well. */
  get closed() {
    return this.#socket.closed;
  }

  /**
   * The result of a call.
   *
   * @param {import("./call.js").Call} call
   */
  async ask(call) {
    const id = ++this.#lastId;
    const body = request(id, call);
    const answer = new Promise((resolve) => this.#open.set(id, resolve));
    try {
      return outcome(await this.#answered(call, body, answer));
    } finally {
      this.#open.delete(id);
      if (this.#retired && this.#open.size === 0) this.#socket.close();
    }
  }

  /** Its open calls end as those do that got no answer. */
  close() {
    this.#retired = true;
    this.#socket.close();
    for (const resolve of this.#open.values()) resolve(undefined);
  }

  /**
   * The reply to a call; a socket without one is retired.
   *
   * @param {import("./call.js").Call} call
   * @param {Uint8Array} body
   * @param {Promise<any>} answer
   */
  async #answered(call, body, answer) {
    const taken = await this.#handOver(body, Math.min(HANDOVER, call.patience));
    if (taken) this.#read();
    const reply = taken && (await within(call.patience, answer));
    if (reply) return reply;
    this.#retired = true;
    throw taken ? noAnswer(call, this.#endpoint, this.closed) : this.#nobody();
  }

  /**
   * Whether a broker took a message, which has to wait for its turn too.
   *
   * @param {Uint8Array} body
   * @param {number} limit seconds
   * @returns {Promise<boolean>}
   */
  #handOver(body, limit) {
    const end = performance.now() + limit * 1000;
    const taken = this.#sent.then(() => this.#send(body, end));
    this.#sent = taken;
    return taken;
  }

  /**
   * @param {Uint8Array} body
   * @param {number} end when to give up, by the clock of `performance`
   */
  async #send(body, end) {
    const left = Math.ceil(end - performance.now());
    if (left <= 0 || this.#socket.closed) return false;
    this.#socket.sendTimeout = left;
    return this.#socket.send(["", body]).then(
      () => true,
      () => false,
    );
  }

  async #read() {
    if (this.#reading) return;
    this.#reading = true;
    for await (const frames of this.#socket) {
      this.#deliver(reply(/** @type {Buffer} */ (frames.at(-1))));
      if (this.#open.size === 0) break;
    }
    this.#reading = false;
  }

  /** @param {ReturnType<typeof reply>} reply undefined for what is none */
  #deliver(reply) {
    const id = reply && this.#whose(reply);
    this.#open.get(id)?.(reply);
    this.#open.delete(id);
  }

  /**
   * One without an id is about a request that could not be read: certainly ours when there is only one.
   *
   * @param {{ id?: any }} reply
   */
  #whose({ id }) {
    return id == null && this.#open.size === 1 ? this.#open.keys().next().value : id;
  }

  #nobody(why = "") {
    return unreachable(`no amid daemon answers at ${this.#endpoint}${why}`);
  }
}

/**
 * What a promise gives, or undefined when that takes too long.
 *
 * @param {number} seconds
 * @param {Promise<any>} promise
 */
async function within(seconds, promise) {
  let timer;
  const late = new Promise((resolve) => {
    timer = setTimeout(resolve, seconds * 1000);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
