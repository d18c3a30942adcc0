/** Events as they come: the daemon keeps them and knows what is missing, so this passes its cursor back. */

import { setTimeout as sleep } from "node:timers/promises";
import { within } from "./dealer.js";
import { AmidError } from "./error.js";

/** Seconds that one request waits for an event in the daemon. */
const PULL_TIMEOUT = 5;
const RETRY_DELAY_MS = 500;
const TRANSIENT = new Set(["unreachable", "not_connected", "busy", "timeout", "connection_lost"]);

export class Gap {
  constructor(server, epoch, after, missed) {
    Object.assign(this, { server, epoch, after, missed });
  }
}

export class Events {
  missed = 0;
  gaps = 0;
  #client;
  #streams;
  #query;
  #timeout;
  #signal;
  #ready = [];
  /** The next page: the daemon works on it while this program works on the one before. */
  #asked;
  /** The `next` before: each has its turn. */
  #last = Promise.resolve();
  #end = new AbortController();
  #abort = () => this.close();

  /** query: `names` or `kinds`. With `kinds` the items are changes of state. */
  constructor(client, streams, query, { server, timeout = Infinity, signal } = {}) {
    this.#client = client;
    this.#streams = streams.add(this);
    this.#query = { server, ...query, signal: this.#end.signal };
    this.#timeout = timeout;
    this.#signal = signal;
    signal?.addEventListener("abort", this.#abort);
    if (signal?.aborted) this.close();
    this.#ask(this.#begin());
  }

  async open() {
    await this.#asked;
    return this;
  }

  next() {
    const turn = this.#last.then(() => this.#next());
    this.#last = turn.catch(() => {});
    return turn;
  }

  async return() {
    this.close();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  close() {
    this.#end.abort();
    this.#streams.delete(this);
    this.#signal?.removeEventListener("abort", this.#abort);
  }

  async #next() {
    const end = performance.now() + this.#timeout * 1000;
    try {
      while (this.#ready.length === 0) this.#take(await within(end - performance.now(), this.#asked)); // a page may be empty
    } catch (error) {
      if (!this.#end.signal.aborted) throw error;
    }
    this.#signal?.throwIfAborted();
    return this.#end.signal.aborted ? { done: true, value: undefined } : { done: false, value: this.#ready.shift() };
  }

  #take(page) {
    if (!page) throw new AmidError("timeout", `no event came within ${this.#timeout} s; the events are still open`);
    const { server, epoch, seq, rev, missed = 0, events = [{ kind: "reset", state: page }] } = page;
    const { kinds, after = page } = this.#query;
    const isVoid = kinds && missed !== 0; // without a cursor, the whole state is next
    if (missed !== 0) {
      this.gaps += 1;
      this.missed += missed ?? 0;
      if (!isVoid) this.#ready.push(new Gap(server, after.epoch, after.seq, missed));
    }
    if (!isVoid) this.#ready.push(...events);
    if (epoch !== undefined) this.#query.after = isVoid ? undefined : { epoch, seq, rev };
    this.#ask(this.#pull());
  }

  #ask(page) {
    page.catch(() => {}); // `next` throws it
    this.#asked = page;
  }

  /** From the last event until now on. A server whose reader is away begins when it is back. */
  #begin() {
    return this.#request(0).catch((error) => {
      if (error.kind === "unreachable" || !TRANSIENT.has(error.kind)) throw error;
      return { events: [], missed: 0 };
    });
  }

  #request(timeout) {
    const isState = this.#query.kinds && !this.#query.after;
    return isState ? this.#client.state(this.#query) : this.#client.pull({ ...this.#query, timeout });
  }

  async #pull() {
    for (;;) {
      try {
        return await this.#request(PULL_TIMEOUT);
      } catch (error) {
        if (!TRANSIENT.has(error.kind)) throw error;
        await sleep(RETRY_DELAY_MS, undefined, { signal: this.#end.signal });
      }
    }
  }
}
