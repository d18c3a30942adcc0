/**
 * What a subscriber does with event messages, without a socket or a clock: it makes events and gaps of them.
 *
 * What is missing is fetched once more before anything behind it is given out, as far as the daemon still holds it. What cannot
 * be had comes as a gap in its place: loss is never silent.
 */

import { TIMEOUT } from "./call.js";
import { AmidError } from "./error.js";
import { Gaps } from "./gaps.js";
import { Recovery } from "./recovery.js";
import { eventTopic, streamTopic, TICK, tickTopic, unpack } from "./wire.js";

/** @typedef {import("../amid.js").Event} Event */
/** @typedef {import("../amid.js").Tick} Tick */
/** @typedef {import("../amid.js").Server} Server */
/** @typedef {import("./gaps.js").Gap} Gap */

/**
 * Give `take` each message, and get events and gaps from `next`.
 *
 * While there is something to `ask`, events are missing: call `replay` with it and give `fetched` or `refused` what came of it,
 * before the next message.
 */
export class Feed {
  /** How many events are known to be missing, in how many gaps, and how many were lost and fetched. */
  missed = 0;
  gaps = 0;
  replayed = 0;

  #names;
  #servers;
  #awaited;
  #rule;
  #recovery = new Recovery();
  /** Whether the first message of the inbox is what a recovery was for, so that what is missing still is lost. */
  #recovered = false;
  /** @type {(Event | Tick)[]} what came, and was not taken yet */
  #inbox = [];
  /** @type {(Event | Gap)[]} what `next` gives */
  #ready = [];

  /**
   * @param {Server[]} listed the result of `servers`
   * @param {readonly string[]} names the event names that are wanted; all events when it has none
   * @param {string} [server] this one only
   */
  constructor(listed, names, server) {
    this.#names = new Set(names);
    this.#servers = chosen(listed, server);
    this.#awaited = new Set(this.#servers.filter(({ state }) => state === "up").map(({ name }) => name));
    this.#rule = new Gaps(names.length ? names : null);
  }

  get endpoints() {
    return this.#servers.map(({ events, stream }) => (this.#names.size ? events : stream));
  }

  /** Ticks come last: the first tick then shows that all of them are in effect. */
  get topics() {
    const servers = this.#servers.map(({ name }) => name);
    return [...servers.flatMap((server) => this.#wanted(server)), ...servers.map(tickTopic)];
  }

  /** Whether every server that was up has ticked: whatever it publishes from now on will come. */
  get settled() {
    return this.#awaited.size === 0;
  }

  /** What to ask `replay` for, or undefined. */
  get ask() {
    return this.#recovery.ask;
  }

  /** Seconds to wait before asking it. */
  get pause() {
    return this.#recovery.pause;
  }

  /**
   * A message's body.
   *
   * @param {Buffer} body
   */
  take(body) {
    for (const one of unpack(body)) {
      if (isTick(one)) this.#awaited.delete(one.server);
      this.#inbox.push(one);
    }
    this.#advance();
  }

  /**
   * What `replay` gave for `ask`.
   *
   * @param {{ events: Event[], more: boolean }} page
   */
  fetched(page) {
    for (const event of this.#recovery.page(page)) {
      if (this.#event(event)) this.replayed += 1;
    }
    this.#advance();
  }

  /**
   * `replay` did not give it within `limit` seconds. What the caller's own limit cut short is asked again.
   *
   * @param {AmidError} error
   * @param {number} limit
   */
  refused(error, limit) {
    if (limit < TIMEOUT && ["timeout", "unreachable"].includes(error.kind)) return;
    this.#recovery.refused(error);
    this.#advance();
  }

  /** The next event or gap, or undefined. */
  next() {
    return this.#ready.shift();
  }

  /** @param {string} server */
  #wanted(server) {
    return this.#names.size ? [...this.#names].map((name) => eventTopic(server, name)) : [streamTopic(server)];
  }

  /** Takes what came, up to where something is missing that may still be had. */
  #advance() {
    while (this.#inbox.length && !this.ask) {
      const missing = this.#recovered ? [] : this.#before(this.#inbox[0]);
      this.#recovered = missing.length > 0;
      if (this.#recovered) this.#recovery.begin(missing.map((gap) => this.#rule.widened(gap)));
      else this.#next();
    }
  }

  /**
   * What is missing before this event or tick.
   *
   * @param {Event | Tick} body
   */
  #before(body) {
    return isTick(body) ? this.#rule.beforeTick(body) : this.#rule.beforeEvent(body);
  }

  #next() {
    const body = /** @type {Event | Tick} */ (this.#inbox.shift());
    if (isTick(body)) this.#rule.tick(body).forEach((gap) => this.#gap(gap));
    else this.#event(body);
  }

  /**
   * Whether it is one that is wanted and new.
   *
   * @param {Event} event
   */
  #event(event) {
    if (this.#names.size && !this.#names.has(event.event)) return false;
    const { fresh, gaps } = this.#rule.event(event);
    gaps.forEach((gap) => this.#gap(gap));
    if (fresh) this.#ready.push(event);
    return fresh;
  }

  /** @param {Gap} gap */
  #gap(gap) {
    this.gaps += 1;
    this.missed += gap.missed ?? 0;
    this.#ready.push(gap);
  }
}

/**
 * @param {Event | Tick} body
 * @returns {body is Tick}
 */
function isTick(body) {
  return body.event === TICK;
}

/**
 * @param {Server[]} listed
 * @param {string} [server]
 */
function chosen(listed, server) {
  const found = listed.filter(({ name }) => server === undefined || name === server);
  if (found.length) return found;
  const known = listed.map(({ name }) => name).join(", ") || "none";
  throw new AmidError("unknown_server", `there is no server ${server ?? "at all"}; the daemon has: ${known}`, { server });
}
