/**
 * The rule by which a subscriber finds what it did not get, without a socket.
 *
 * `epoch` changes with each event session and only grows; `seq` counts a server's events within an epoch; `nth` counts them per
 * event name, so that a subscriber to some names, who sees holes in `seq` by design, can check too. A tick once a second states
 * the last of each, so that a loss at the end of a quiet stream shows.
 */

/** @typedef {import("../amid.js").Event} Event */
/** @typedef {import("../amid.js").Tick} Tick */

const LOST = "lost";
const ENDED = "the event session was replaced";

/**
 * Events that this subscriber did not get: behind number `after` of `epoch`, and not behind number `until`.
 *
 * `missed` is how many. It and `until` are null at the end of an epoch, where it cannot be known. `event` is their name when only
 * some names are subscribed, else null.
 */
export class Gap {
  /**
   * @param {object} gap
   * @param {string} gap.server
   * @param {number} gap.epoch
   * @param {number} gap.after
   * @param {number | null} gap.until
   * @param {number | null} gap.missed
   * @param {string} gap.reason
   * @param {string | null} [gap.event]
   */
  constructor({ server, epoch, after, until, missed, reason, event = null }) {
    this.server = server;
    this.epoch = epoch;
    this.after = after;
    this.until = until;
    this.missed = missed;
    this.reason = reason;
    this.event = event;
  }
}

/** What was taken of a server's epoch. */
class Seen {
  /**
   * @param {number} epoch
   * @param {number} seq the last one
   * @param {Map<string, number>} [nths] the last nth of each name; given when the count of every name is known, from a tick or
   *   because the epoch began before our eyes
   */
  constructor(epoch, seq, nths) {
    this.epoch = epoch;
    this.seq = seq;
    this.nths = nths ?? new Map();
    this.whole = nths !== undefined;
    /** The seq when this was made. */
    this.base = seq;
    /** @type {Map<string, number>} the last seq of each name since */
    this.seqs = new Map();
  }

  /**
   * An epoch that began before our eyes: nothing of it has been seen, and all of it counts.
   *
   * @param {number} epoch
   */
  static begun(epoch) {
    return new Seen(epoch, 0, new Map());
  }

  /**
   * The last nth of a name; `otherwise` when it is not known.
   *
   * @param {string} name
   * @param {number} otherwise
   */
  nth(name, otherwise) {
    return this.nths.get(name) ?? (this.whole ? 0 : otherwise);
  }

  /**
   * Behind which number the next event of this name comes; those of other names may have come since.
   *
   * @param {string} name
   */
  after(name) {
    return this.seqs.get(name) ?? this.base;
  }

  /** @param {Event} event */
  take({ seq, nth, event }) {
    this.seq = Math.max(this.seq, seq);
    this.seqs.set(event, seq);
    this.nths.set(event, nth);
  }
}

/**
 * Give `event` each event and `tick` each tick, in the order in which they come; both say what was missed before it.
 * `beforeEvent` and `beforeTick` say the same and take nothing, for a subscriber that fetches what it missed before it goes on.
 */
export class Gaps {
  /** @type {Map<string, Seen>} */
  #seen = new Map();
  #names;

  /** @param {readonly string[] | null} [names] the event names that are subscribed; all events when left out */
  constructor(names) {
    this.#names = names ? [...names].sort() : null;
  }

  /**
   * Whether the event is new, and the gaps before it. An event that was seen already is neither new nor shows any.
   *
   * @param {Event} event
   */
  event(event) {
    if (!this.#isFresh(event)) return { fresh: false, gaps: [] };
    const gaps = this.beforeEvent(event);
    this.#current(event).take(event);
    return { fresh: true, gaps };
  }

  /**
   * What this event, when it is the next to be taken, shows to be missing.
   *
   * @param {Event} event
   */
  beforeEvent(event) {
    const seen = this.#seen.get(event.server);
    if (!seen || !this.#isFresh(event)) return [];
    return this.#missing(seen, event, (current) => this.#before(current, event));
  }

  /**
   * What a tick shows to be missing: everything up to its `seq` has been published.
   *
   * @param {Tick} tick
   */
  tick(tick) {
    const gaps = this.beforeTick(tick);
    if (!this.#isOld(tick)) this.#seen.set(tick.server, new Seen(tick.epoch, tick.seq, new Map(Object.entries(tick.counts))));
    return gaps;
  }

  /**
   * What this tick, when it is the next to be taken, shows to be missing.
   *
   * @param {Tick} tick
   */
  beforeTick(tick) {
    const seen = this.#seen.get(tick.server);
    if (!seen || this.#isOld(tick)) return [];
    return this.#missing(seen, tick, (current) => this.#atTick(current, tick));
  }

  /**
   * With names only, the gap from where nothing of any name is missing: what was lost of the others lies there too.
   *
   * @param {Gap} gap
   */
  widened(gap) {
    const seen = this.#seen.get(gap.server);
    if (!this.#names || seen?.epoch !== gap.epoch) return gap;
    return new Gap({ ...gap, after: Math.min(...this.#names.map((name) => seen.after(name))) });
  }

  /**
   * With names only, each name is a stream of its own: of one name a lost event may be fetched when another's has come.
   *
   * @param {Event} event
   */
  #isFresh({ server, epoch, seq, event }) {
    const seen = this.#seen.get(server);
    if (seen?.epoch !== epoch) return !seen || epoch > seen.epoch;
    return seq > (this.#names ? seen.after(event) : seen.seq);
  }

  /** @param {Tick} tick */
  #isOld({ server, epoch, seq }) {
    const seen = this.#seen.get(server);
    if (seen?.epoch !== epoch) return seen !== undefined && epoch < seen.epoch;
    return seq < seen.seq;
  }

  /**
   * What was seen of the event's epoch, which may begin with it.
   *
   * @param {Event} event
   */
  #current({ server, epoch, seq }) {
    const seen = this.#seen.get(server);
    if (seen?.epoch === epoch) return seen;
    const begun = seen ? Seen.begun(epoch) : new Seen(epoch, seq);
    this.#seen.set(server, begun);
    return begun;
  }

  /**
   * At a new epoch: the rest of the old one, and what is missing of the new one from its beginning.
   *
   * @param {Seen} seen
   * @param {Event | Tick} body
   * @param {(current: Seen) => Gap[]} within what is missing of one epoch
   */
  #missing(seen, { server, epoch }, within) {
    if (seen.epoch === epoch) return within(seen);
    const rest = new Gap({ server, epoch: seen.epoch, after: seen.seq, until: null, missed: null, reason: ENDED });
    return [rest, ...within(Seen.begun(epoch))];
  }

  /**
   * @param {Seen} seen
   * @param {Event} body
   */
  #before(seen, { server, epoch, seq, nth, event }) {
    const missed = this.#names ? nth - seen.nth(event, nth - 1) - 1 : seq - seen.seq - 1;
    if (missed <= 0) return [];
    const which = this.#names ? { after: seen.after(event), event } : { after: seen.seq };
    return [new Gap({ server, epoch, until: seq - 1, missed, reason: LOST, ...which })];
  }

  /**
   * @param {Seen} seen
   * @param {Tick} tick
   */
  #atTick(seen, { server, epoch, seq, counts }) {
    const lost = this.#names ? lostByName(seen, this.#names, counts) : [{ after: seen.seq, missed: seq - seen.seq }];
    return lost.filter(({ missed }) => missed > 0).map((one) => new Gap({ server, epoch, until: seq, reason: LOST, ...one }));
  }
}

/**
 * @param {Seen} seen
 * @param {string[]} names
 * @param {{ [name: string]: number }} counts
 */
function lostByName(seen, names, counts) {
  return names.map((event) => {
    const count = Object.hasOwn(counts, event) ? counts[event] : 0;
    return { event, after: seen.after(event), missed: count - seen.nth(event, count) };
  });
}
