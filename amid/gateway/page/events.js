// The view of events: the latest ones, with a filter, a pause, and all headers of each on a click.

import { now } from "./api.js";
import { $, clock, make, reconcile, setText } from "./dom.js";

const MAX_KEPT = 1000;
const MAX_SHOWN = 200;

export class EventsView {
  /** `showDetails(title, fields)` shows the headers of an event. */
  constructor(showDetails) {
    this.items = [];
    this.received = 0;
    this.rate = { second: 0, count: 0, previous: 0 };
    this.paused = null; // the items that are shown during a pause
    $("events-pause").addEventListener("click", () => this.#togglePause());
    $("events-clear").addEventListener("click", () => {
      this.items = [];
      if (this.paused) this.paused = [];
    });
    $("events").addEventListener("click", (click) => {
      const item = click.target.closest("button")?.item;
      if (item?.fields) showDetails(`${item.event}, ${item.server} number ${item.seq}`, item.fields);
    });
  }

  addEvent(event) {
    this.received += 1;
    this.#countEvents(1);
    this.#add({ ...event, key: `${event.server} ${event.epoch} ${event.seq}` });
  }

  addGap(gap, text) {
    this.#add({ ...gap, key: `gap ${gap.server} ${gap.epoch} ${gap.after} ${this.received}`, time: now(), text });
  }

  /** The number of events in the last whole second. */
  perSecond() {
    this.#countEvents(0);
    return this.rate.previous;
  }

  count() {
    const rate = this.perSecond();
    return rate ? `${rate}/s` : "";
  }

  draw() {
    const matches = parseFilter($("events-filter").value.trim());
    const all = this.paused ?? this.items;
    const items = all.filter(matches);
    setText($("events-summary"), `${items.length} of the last ${all.length}, ${this.received} since this page was opened`);
    reconcile($("events"), items.slice(-MAX_SHOWN).reverse(), (item) => item.key, create);
  }

  /** Two counters only: a tab in the background receives events for hours without being drawn. */
  #countEvents(more) {
    const second = Math.floor(Date.now() / 1000);
    const { second: last, count } = this.rate;
    if (second !== last) this.rate = { second, count: 0, previous: second === last + 1 ? count : 0 };
    this.rate.count += more;
  }

  #add(item) {
    this.items.push(item);
    if (this.items.length > 2 * MAX_KEPT) this.items = this.items.slice(-MAX_KEPT);
  }

  #togglePause() {
    this.paused = this.paused ? null : this.items.slice();
    $("events-pause").setAttribute("aria-pressed", Boolean(this.paused));
    setText($("events-pause"), this.paused ? "Resume" : "Pause");
  }
}

/**
 * The condition in a filter: `Channel~PJSIP` (contains) and `Queue=support` (equal) compare one
 * header; any other text is searched in the name and all headers. Gaps always match.
 */
function parseFilter(text) {
  if (!text) return () => true;
  const [, name, operator, value] = /^([\w-]+)([=~])(.*)$/.exec(text) ?? [];
  const values = (item, header) =>
    Object.entries(item.fields).flatMap(([key, one]) => (key.toLowerCase() === header ? [one].flat() : []));
  const holds = (one) => (operator === "=" ? one === value : String(one).includes(value));
  if (name) return (item) => !item.fields || values(item, name.toLowerCase()).some(holds);
  const wanted = text.toLowerCase();
  return (item) => !item.fields || `${item.event} ${Object.values(item.fields).join(" ")}`.toLowerCase().includes(wanted);
}

/** Headers that the row of an event shows. */
const HEADERS = [
  "Channel",
  "DestChannel",
  "Queue",
  "Interface",
  "Variable",
  "Value",
  "Device",
  "State",
  "Cause-txt",
  "Application",
  "UserEvent",
  "Reason",
];

function create(item) {
  if (!item.fields)
    return make(
      "li",
      { className: "gap" },
      make("time", {}, clock(item.time)),
      make("b", {}, "gap"),
      `${item.server}: ${item.text}`,
    );
  const headers = HEADERS.filter((name) => item.fields[name])
    .map((name) => `${name} ${item.fields[name]}`)
    .join("   ");
  const parts = [make("time", {}, clock(item.time)), make("span", { className: "server" }, item.server), make("b", {}, item.event)];
  const button = make("button", { type: "button", className: "row" }, ...parts, make("span", { className: "what" }, headers));
  button.item = item;
  return make("li", {}, button);
}
