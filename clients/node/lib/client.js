/** The client: a method for each method of the daemon, and the events. What they do is said in amid.d.ts. */

import { Dealer } from "./dealer.js";
import { findEndpoint } from "./discovery.js";
import { Events } from "./events.js";

/** Seconds that a call may take unless its caller says otherwise; the daemon has the same default. */
const TIMEOUT = 5;
const STATE_TIMEOUT = 10; // the daemon loads the lists of a PBX at the first request

export class Client {
  #runDir;
  #dealer;
  #streams = new Set();

  constructor({ runDir } = {}) {
    this.#runDir = runDir;
  }

  action(name, fields = {}, { signal, ...options } = {}) {
    return this.call("action", { action: name, fields, timeout: TIMEOUT, ...options }, { signal });
  }

  async command(text, options) {
    return (await this.action("Command", { Command: text }, options)).output;
  }

  servers(options) {
    return this.call("servers", {}, options);
  }
  status(options) {
    return this.call("status", {}, options);
  }
  actions({ signal, ...options } = {}) {
    return this.call("actions", { timeout: TIMEOUT, ...options }, { signal });
  }
  pull({ signal, ...options } = {}) {
    return this.call("events", { timeout: 25, ...options }, { signal });
  }
  state({ signal, ...options } = {}) {
    return this.call("state", { timeout: STATE_TIMEOUT, ...options }, { signal });
  }
  audit({ after, limit, ...options } = {}) {
    return this.call("audit", { after, limit }, options);
  }
  restart(server, options) {
    return this.call("restart", { server }, options);
  }
  ping(options) {
    return this.call("ping", {}, options);
  }

  async call(method, params = {}, { timeout = params.timeout ?? TIMEOUT, signal } = {}) {
    this.#dealer ??= new Dealer(findEndpoint(this.#runDir));
    return this.#dealer.ask(method, params, timeout, signal);
  }

  events(names = [], options) {
    return new Events(this, this.#streams, { names: names.length === 0 ? undefined : names }, options);
  }
  changes(kinds, options) {
    return new Events(this, this.#streams, { kinds }, options);
  }

  close() {
    for (const stream of this.#streams) stream.close();
    this.#dealer?.close();
    this.#dealer = undefined;
  }
}
