/** Events as they come: a SUB socket around a `Feed`. */

import { setTimeout as sleep } from "node:timers/promises";
import zmq from "zeromq";

import { TIMEOUT } from "./call.js";
import { AmidError } from "./error.js";
import { Feed } from "./feed.js";

/** Seconds to wait for the first tick of each server that is up, which shows that a subscription is in effect. */
const SETTLE = 2;

/**
 * Events and gaps as they come, for ever. Made by `Client.events`.
 *
 * The subscription is in effect when `open` has resolved, or with the first `next`. When the daemon or a reader is replaced,
 * ZeroMQ reconnects, and the new epoch shows as a gap. What was lost because this program did not read in time is fetched once
 * more, in its place; what the daemon no longer holds is a gap. With names, each name's events are in order; a lost one may come
 * after a later one of another name.
 */
export class Events {
  #client;
  #streams;
  #names;
  #server;
  #timeout;
  #signal;
  /** @type {Feed | undefined} */
  #feed;
  #socket = new zmq.Subscriber({ linger: 0 });
  /** @type {Promise<any> | undefined} */
  #opened;
  /** @type {Promise<any>} the `next` before: each has its turn */
  #last = Promise.resolve();
  /** Ends what `next` waits for. */
  #wake = () => {};
  #closed = false;

  /**
   * @param {import("./client.js").Client} client
   * @param {Set<Events>} streams those that the client closes
   * @param {readonly string[]} [names] all events when there are none
   * @param {import("../amid.js").EventsOptions} [options]
   */
  constructor(client, streams, names = [], { server, timeout = Infinity, signal } = {}) {
    this.#client = client;
    this.#streams = streams;
    this.#names = [...names];
    this.#server = server;
    this.#timeout = timeout;
    this.#signal = signal;
  }

  /** How many events are known to be missing. */
  get missed() {
    return this.#feed?.missed ?? 0;
  }

  /** How many gaps there were; of one at a new epoch nobody knows the size. */
  get gaps() {
    return this.#feed?.gaps ?? 0;
  }

  /** How many events were lost on the way and fetched once more. */
  get replayed() {
    return this.#feed?.replayed ?? 0;
  }

  /** Subscribes; resolves to these events once that is in effect, after 2 s at most. */
  open() {
    this.#opened ??= this.#subscribe().catch((error) => {
      this.close();
      throw error;
    });
    return this.#opened.then(() => this);
  }

  /**
   * The next event or gap. Rejects with a `timeout` when none came in time; the subscription stays open, and `next` may be tried
   * again.
   *
   * @returns {Promise<IteratorResult<import("../amid.js").Event | import("./gaps.js").Gap, undefined>>}
   */
  next() {
    const turn = this.#last.then(() => this.#next());
    this.#last = turn.catch(() => {});
    return turn;
  }

  /** Leaving a `for await` closes it. */
  async return() {
    this.close();
    return { done: /** @type {const} */ (true), value: undefined };
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  /** Ends the events, also for a `next` that is waiting. */
  close() {
    this.#closed = true;
    this.#socket.close();
    this.#streams.delete(this);
    this.#signal?.removeEventListener("abort", this.#abort);
    this.#wake();
  }

  #abort = () => this.close();

  async #subscribe() {
    this.#signal?.throwIfAborted();
    this.#signal?.addEventListener("abort", this.#abort);
    this.#streams.add(this);
    const feed = new Feed(await this.#client.servers(), this.#names, this.#server);
    this.#feed = feed;
    if (this.#closed) return;
    feed.endpoints.forEach((endpoint) => this.#socket.connect(endpoint));
    this.#socket.subscribe(...feed.topics);
    const end = now() + SETTLE;
    while (!feed.settled && now() < end && !this.#closed) await this.#receive(feed, end - now());
  }

  /** @returns {Promise<IteratorResult<any, undefined>>} */
  async #next() {
    if (!this.#closed) await this.open();
    const feed = /** @type {Feed} */ (this.#feed);
    const end = now() + this.#timeout;
    while (!this.#closed) {
      const value = feed.next();
      if (value) return { done: false, value };
      const left = end - now();
      if (left <= 0) throw new AmidError("timeout", `no event came within ${this.#timeout} s; the subscription is still open`);
      await (feed.ask ? this.#untilClosed(this.#fetch(feed, feed.ask, left)) : this.#receive(feed, left));
    }
    this.#signal?.throwIfAborted();
    return { done: true, value: undefined };
  }

  /**
   * One message, if one comes.
   *
   * @param {Feed} feed
   * @param {number} limit seconds
   */
  async #receive(feed, limit) {
    this.#socket.receiveTimeout = limit === Infinity ? -1 : Math.ceil(limit * 1000);
    const frames = await this.#socket.receive().catch(nothingCame);
    if (frames) feed.take(/** @type {Buffer} */ (frames[1]));
  }

  /**
   * What is missing, once more.
   *
   * @param {Feed} feed
   * @param {{ server: string, epoch: number, after: number }} ask
   * @param {number} limit seconds
   */
  async #fetch(feed, { server, epoch, after }, limit) {
    const timeout = Math.min(limit, TIMEOUT);
    await sleep(Math.min(feed.pause, timeout) * 1000);
    if (this.#closed) return;
    try {
      feed.fetched(await this.#client.replay(server, epoch, after, { timeout }));
    } catch (error) {
      if (!(error instanceof AmidError)) throw error;
      feed.refused(error, timeout);
    }
  }

  /** @param {Promise<void>} fetching */
  #untilClosed(fetching) {
    /** @type {Promise<void>} */
    const closed = new Promise((resolve) => {
      this.#wake = resolve;
    });
    return Promise.race([fetching, closed]);
  }
}

/** Seconds, by a clock that nobody sets. */
function now() {
  return performance.now() / 1000;
}

/** @param {NodeJS.ErrnoException} error the wait was over, or the socket was closed */
function nothingCame(error) {
  if (error.code !== "EAGAIN") throw error;
}
