/**
 * Which lost events to fetch once more, and when to stop asking: between `Gaps`, which sees a loss, and `replay`.
 *
 * A gap becomes a range of numbers. It is asked for page by page, until it is whole or the daemon does not hold the rest. Where
 * the daemon holds only the end of a range, it says which number is the oldest, and the asking goes on from there.
 */

/** @typedef {import("../amid.js").Event} Event */
/** @typedef {import("./gaps.js").Gap} Gap */

/** How often a page is asked for when it is refused for now. A try that failed otherwise counts for half of them. */
const TRIES = 8;
/** Seconds between two such tries. */
const PAUSE = 0.5;
/** Errors that come at once and may be over in a moment: a reader or the broker may just have been replaced. */
const FOR_NOW = new Set(["not_connected", "busy", "unreachable"]);
/** Errors that asking again would not change. */
const FINAL = new Set(["gone", "unknown_server", "invalid_params", "unknown_method", "denied"]);

/** Numbers of an epoch: behind `after`, and not behind `until`; null is to the epoch's end. */
class Range {
  tries = TRIES;

  /** @param {Gap} gap */
  constructor({ server, epoch, after, until }) {
    this.server = server;
    this.epoch = epoch;
    this.after = after;
    this.until = until;
  }

  /** @param {number} seq */
  has(seq) {
    return seq > this.after && (this.until === null || seq <= this.until);
  }

  isWhole() {
    return this.until !== null && this.after >= this.until;
  }

  /** @param {Gap} gap */
  isSameEpoch({ server, epoch }) {
    return server === this.server && epoch === this.epoch;
  }

  /** @param {Gap} gap */
  join({ after, until }) {
    this.after = Math.min(this.after, after);
    this.until = this.until === null || until === null ? null : Math.max(this.until, until);
  }
}

/** Give it gaps with `begin`; while there is something to `ask`, call `replay` with it and give `page` or `refused` what came. */
export class Recovery {
  /** @type {Range[]} */
  #ranges = [];
  /** Seconds to wait before `ask` is asked. */
  pause = 0;

  /** The `server`, `epoch` and `after` of `replay`, or undefined when there is nothing to ask for. */
  get ask() {
    return this.#ranges.at(0);
  }

  /**
   * Gaps in several names of one epoch are one range, so that their events come in order.
   *
   * @param {Gap[]} gaps
   */
  begin(gaps) {
    for (const gap of gaps) {
      const last = this.#ranges.at(-1);
      if (last?.isSameEpoch(gap)) last.join(gap);
      else this.#ranges.push(new Range(gap));
    }
  }

  /**
   * Those events of a page that lie in the range.
   *
   * @param {{ events: Event[], more: boolean }} page
   */
  page({ events, more }) {
    const range = this.#ranges[0];
    const wanted = events.filter(({ seq }) => range.has(seq));
    range.after = wanted.at(-1)?.seq ?? range.after;
    this.pause = 0;
    if (!more || wanted.length === 0 || range.isWhole()) this.#ranges.shift();
    return wanted;
  }

  /** @param {import("./error.js").AmidError} error */
  refused({ kind, oldest }) {
    const range = this.#ranges[0];
    const forNow = FOR_NOW.has(kind);
    range.tries -= forNow ? 1 : TRIES / 2;
    this.pause = forNow ? PAUSE : 0;
    if (oldest !== undefined && oldest > range.after + 1 && range.has(oldest)) {
      range.after = oldest - 1;
      range.tries = TRIES;
    } else if (FINAL.has(kind) || range.tries <= 0) {
      this.#ranges.shift();
    }
  }
}
