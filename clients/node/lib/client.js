/** The client: a method for each method of the daemon, and the events. */

import { call, TIMEOUT } from "./call.js";
import { Dealer } from "./dealer.js";
import { Events } from "./events.js";
import { find } from "./place.js";

/** How many events `replay` gives at most, unless its caller says otherwise. */
const LIMIT = 1000;

/**
 * A connection to the daemon. Nothing is opened before the first call, and any number of calls may be open at once.
 *
 * Every method rejects with an `AmidError`. Every timeout is in seconds. See amid.d.ts for what the results have.
 */
export class Client {
  #runDir;
  /** @type {Set<Dealer>} the one in use, and those on which a call waits still */
  #dealers = new Set();
  /** @type {Set<Events>} */
  #streams = new Set();

  /** @param {{ runDir?: string }} [options] runDir: the only directory to look for the daemon in */
  constructor({ runDir } = {}) {
    this.#runDir = runDir;
  }

  /**
   * Sends an action; the whole answer.
   *
   * @param {string | Uint8Array} name
   * @param {import("../amid.js").Fields} [fields]
   * @param {import("../amid.js").ActionOptions} [options] until: the name of a later event with this ActionID to wait for as well
   */
  action(name, fields = {}, { server, timeout = TIMEOUT, until } = {}) {
    return this.call("action", { action: name, fields, server, timeout, until });
  }

  /**
   * The output lines of an Asterisk CLI command.
   *
   * @param {string | Uint8Array} text
   * @param {import("../amid.js").ServerOptions} [options]
   */
  async command(text, options) {
    const { output } = await this.action("Command", { Command: text }, options);
    return output;
  }

  /**
   * Each server's name, state, epoch, endpoints and more.
   *
   * @param {import("../amid.js").CallOptions} [options]
   */
  servers(options) {
    return this.call("servers", {}, options);
  }

  /**
   * Servers, processes, counters, version and uptime of the daemon.
   *
   * @param {import("../amid.js").CallOptions} [options]
   */
  status(options) {
    return this.call("status", {}, options);
  }

  /**
   * The actions that this Asterisk offers.
   *
   * @param {import("../amid.js").ServerOptions} [options]
   */
  actions({ server, timeout = TIMEOUT } = {}) {
    return this.call("actions", { server, timeout });
  }

  /**
   * Events behind number `after` once more. Kind `gone`: they are no longer held.
   *
   * @param {string} server
   * @param {number} epoch
   * @param {number} after a seq
   * @param {{ limit?: number, timeout?: number }} [options]
   */
  replay(server, epoch, after, { limit = LIMIT, timeout = TIMEOUT } = {}) {
    return this.call("replay", { server, epoch, after, limit, timeout });
  }

  /**
   * Replaces a server's reader.
   *
   * @param {string} server
   * @param {import("../amid.js").CallOptions} [options]
   */
  restart(server, options) {
    return this.call("restart", { server }, options);
  }

  /**
   * Asks the daemon, not Asterisk, for a sign of life.
   *
   * @param {import("../amid.js").CallOptions} [options]
   */
  ping(options) {
    return this.call("ping", {}, options);
  }

  /**
   * Any method, also one that this client does not know yet.
   *
   * @param {string} method
   * @param {{ [name: string]: any }} [params]
   * @param {import("../amid.js").CallOptions} [options]
   * @returns {Promise<any>}
   */
  async call(method, params = {}, { timeout = params.timeout ?? TIMEOUT } = {}) {
    const dealer = this.#dealer();
    try {
      return await dealer.ask(call(method, params, timeout));
    } finally {
      if (dealer.closed) this.#dealers.delete(dealer);
    }
  }

  /**
   * Events as they come, with gaps where some are missing: those with these names, or all. See `Events`.
   *
   * @param {readonly string[]} [names]
   * @param {import("../amid.js").EventsOptions} [options]
   */
  events(names, options) {
    return new Events(this, this.#streams, names, options);
  }

  /** Closes every socket, and with it the streams of `events`; a call that is open gets no answer. May be used again. */
  close() {
    for (const stream of this.#streams) stream.close();
    for (const dealer of this.#dealers) dealer.close();
    this.#dealers.clear();
  }

  /** The one in use, or a new one. */
  #dealer() {
    const used = [...this.#dealers].find((dealer) => !dealer.retired) ?? new Dealer(find(this.#runDir));
    this.#dealers.add(used);
    return used;
  }
}
