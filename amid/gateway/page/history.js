// The view of recorded calls: a search, and the ladder of one call. A current call is loaded again
// while it continues. The address of the page names the call, so that it can be bookmarked.

import { call, get, now } from "./api.js";
import { $, ARROW, dateTime, duration, make, reconcile, setText } from "./dom.js";
import { createLegend, createRows, tracksOf } from "./ladder.js";

const LIMITS = [50, 200, 1000]; // of a search and its extensions; the daemon's maximum is 1,000
const REFRESH_S = 3; // a current call is loaded again this often
const MASKED_DIGITS = 5; // longest number that a token with masked numbers may search
const TEXTS = ["number", "name", "queue", "agent", "ended_by", "longer", "shorter"];
const LOST = "lost"; // in the list of outcomes: calls in which nobody spoke to the caller

const ENDED_BY = {
  caller: "the caller",
  callee: "the callee",
  agent: "the agent",
  pbx: "the PBX",
  restart: "a restart of Asterisk",
};

export class HistoryView {
  /** `show()` shows this view. */
  constructor(show) {
    this.show = show;
    this.available = false; // the recorder runs, and the token has `history`
    this.masked = false;
    this.limit = LIMITS[0];
    this.query = null; // of the search that is shown; null before the first one
    this.searches = 0;
    this.opened = null; // the call whose ladder is shown: its server and Linkedid
    this.call = null; // its summary, once loaded
    this.drawn = ""; // what the drawn ladder depends on
    this.loadedAt = 0; // Unix time of the last request for the open call
    $("history-form").addEventListener("submit", (submit) => {
      submit.preventDefault();
      this.#search(parseForm(), LIMITS[0]);
    });
    $("history-period").addEventListener("change", showPeriod);
    $("history-more").addEventListener("click", () => this.#search(this.query, LIMITS[LIMITS.indexOf(this.limit) + 1]));
    $("records").addEventListener("click", (click) => {
      const { record } = click.target.closest("button") ?? {};
      if (record) this.open(record.server, record.linkedid);
    });
    $("history-back").addEventListener("click", () => this.close());
    $("history-print").addEventListener("click", () => print());
  }

  /** Note whether there is a recorder, and the token's right `history`: true, false or "masked". */
  setAvailable(recorder, right) {
    this.available = Boolean(recorder && right);
    this.masked = right === "masked";
    $("history-number").pattern = this.masked ? `[0-9]{1,${MASKED_DIGITS}}` : ".*";
    $("history-name").closest(".field").hidden = this.masked;
    setText(
      $("history-hint"),
      this.masked ? `This token sees masked numbers, and can search numbers of up to ${MASKED_DIGITS} digits only.` : "",
    );
  }

  setServers(names) {
    const select = $("history-server");
    if ([...select.options].map((option) => option.value).join() === names.join()) return;
    select.replaceChildren(...names.map((name) => make("option", { value: name }, name)));
    select.closest(".field").hidden = names.length < 2;
  }

  draw(now) {
    $("history-search").hidden = this.opened !== null;
    $("history-call").hidden = this.opened === null;
    if (!this.available) return;
    if (this.opened === null) {
      if (this.query === null && $("history-server").value) this.#search(parseForm(), LIMITS[0]);
    } else if (now >= this.loadedAt + REFRESH_S && (this.call === null || this.call.ended === null)) {
      this.loadedAt = now;
      this.#load(this.opened);
    }
  }

  // ── one call ──

  /** The part of the page's address that names the open call; "" without one. */
  get path() {
    return this.opened ? `/${encodeURIComponent(this.opened.server)}/${encodeURIComponent(this.opened.linkedid)}` : "";
  }

  /** Show the ladder of a call. */
  open(server, linkedid) {
    Object.assign(this, { opened: { server, linkedid }, call: null, drawn: "", loadedAt: 0 });
    setText($("history-title"), "");
    setText($("history-error"), "");
    for (const id of ["history-facts", "ladder-parties", "ladder"]) $(id).replaceChildren();
    this.show();
  }

  /** Show the search again. */
  close() {
    this.opened = this.call = null;
    this.show();
  }

  async #load(opened) {
    try {
      const answer = await call("call", opened);
      if (this.opened !== opened) return;
      setText(
        $("history-error"),
        answer.call ? unreadable(answer) : `The recorder has no call ${opened.linkedid} of ${opened.server} yet.`,
      );
      if (answer.call) this.#showCall(answer.call, answer.ladder);
    } catch (error) {
      if (this.opened === opened) setText($("history-error"), error.message);
    }
  }

  #showCall(call, steps) {
    this.call = call;
    setText($("history-title"), partiesOf(call));
    $("history-facts").replaceChildren(
      ...factsOf(call).map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))),
    );
    const drawn = `${steps.length} ${call.ended}`;
    if (this.drawn === drawn) return;
    this.drawn = drawn;
    const tracks = tracksOf(steps);
    $("ladder-parties").replaceChildren(...createLegend(tracks));
    $("ladder").replaceChildren(...createRows(steps, tracks, call.ended === null));
  }

  // ── the search ──

  async #search(query, limit) {
    const number = (this.searches += 1);
    Object.assign(this, { query, limit });
    setText($("history-summary"), "Searching…");
    try {
      const answer = await get(`v1/calls?${new URLSearchParams({ ...query, limit })}`);
      if (this.searches === number) this.#showRecords(answer);
    } catch (error) {
      if (this.searches !== number) return;
      this.#showRecords({ calls: [], more: false });
      setText($("history-summary"), error.message);
    }
  }

  #showRecords(answer) {
    const { calls, more } = answer;
    const last = this.limit === LIMITS.at(-1);
    const found = `${calls.length} call${calls.length === 1 ? "" : "s"}${more ? ", the newest ones" : ""}`;
    const narrow = more && last ? "; narrow the time range to see others" : "";
    setText($("history-summary"), `${calls.length ? found + narrow : "No calls match."} ${unreadable(answer)}`.trim());
    $("history-more").hidden = !more || last;
    reconcile($("records"), calls, (call) => `${call.server} ${call.linkedid}`, createRecord, updateRecord);
  }
}

// ── what is said of a call ──

const partiesOf = (call) => call.who + ARROW + (call.whom || call.dialled || "…");

const rounded = (seconds) => duration(Math.round(seconds)); // as the ladder's text

const beganOf = (call) => (call.late ? "before " : "") + dateTime(call.began);

const outcomeOf = (call) => (call.ended === null ? "in progress" : call.outcome);

const unreadable = (answer) => (answer.unreadable ? `Files that cannot be read: ${answer.unreadable.join(", ")}.` : "");

/** What is known of a call, as names and values. */
function factsOf(call) {
  const facts = [
    ["Began", beganOf(call)],
    ["Outcome", outcomeOf(call)],
    ["Duration", call.ended === null ? "" : (call.late ? "more than " : "") + rounded(call.ended - call.began)],
    ["Waited", call.waited ? rounded(call.waited) : ""],
    ["Talked", call.talked ? rounded(call.talked) : ""],
    ["Queue", call.queue],
    ["Agent", call.agent],
    ["Ended by", ENDED_BY[call.ended_by] ?? ""],
    ["Cause", call.cause ? `${call.cause_text} (${call.cause})` : ""],
    ["Numbers", call.numbers.join(", ")],
    ["Linkedid", [call.linkedid, ...call.joined].join(", ")],
    ["Server", call.server],
  ];
  return facts.filter(([, value]) => value);
}

function createRecord() {
  const parts = ["began", "who", "chip", "details"].map((className) => make("span", { className }));
  return make("li", {}, make("button", { type: "button", className: "record" }, ...parts));
}

function updateRecord(item, call) {
  const button = item.firstChild;
  const [began, who, chip, details] = button.children;
  button.record = call;
  item.dataset.outcome = outcomeOf(call);
  setText(began, beganOf(call));
  setText(who, partiesOf(call));
  setText(chip, outcomeOf(call));
  const facts = [
    call.queue && `queue ${call.queue}`,
    call.agent && `agent ${call.agent}`,
    call.waited >= 1 && `waited ${rounded(call.waited)}`,
    call.talked >= 1 && `talked ${rounded(call.talked)}`,
    call.ended_by && `ended by ${ENDED_BY[call.ended_by] ?? call.ended_by}`,
  ];
  setText(details, facts.filter(Boolean).join(", "));
}

// ── the form ──

/** The form as params of the method `calls`. */
function parseForm() {
  const query = { server: $("history-server").value };
  for (const name of TEXTS) {
    const value = $(`history-${name}`).value.trim();
    if (value) query[name] = value;
  }
  const outcome = $("history-outcome").value;
  if (outcome === LOST) query.lost = "true";
  else if (outcome) query.outcome = outcome;
  return { ...query, ...parsePeriod() };
}

/** `since` and `until` in Unix time, with the days of the browser's time zone. */
function parsePeriod() {
  const midnight = (days) => {
    const at = new Date(now() * 1000);
    at.setDate(at.getDate() + days); // a day may have 23 hours
    return at.setHours(0, 0, 0, 0) / 1000;
  };
  switch ($("history-period").value) {
    case "hour":
      return { since: now() - 3600 };
    case "today":
      return { since: midnight(0) };
    case "yesterday":
      return { since: midnight(-1), until: midnight(0) };
    case "week":
      return { since: now() - 7 * 86400 };
    case "range":
      return Object.fromEntries(
        ["since", "until"].flatMap((name) => {
          const value = $(`history-${name}`).value;
          return value ? [[name, new Date(value).getTime() / 1000]] : [];
        }),
      );
    default:
      return {};
  }
}

/** Show the fields of a range if it is selected. */
function showPeriod() {
  const isRange = $("history-period").value === "range";
  for (const name of ["since", "until"]) $(`history-${name}`).closest(".field").hidden = !isRange;
}
