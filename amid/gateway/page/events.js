// The view of events as they come: filtered, paused, and each with its headers on a click.

import { $, clock, keyed, make, setText } from "./dom.js";

const KEPT = 1000;
const DRAWN = 200;

export class Events {
  constructor(details) {
    this.kept = [];
    this.seen = 0;
    this.rate = { second: 0, now: 0, before: 0 };
    this.paused = null;
    $("events-pause").addEventListener("click", () => this.#pause());
    $("events-clear").addEventListener("click", () => {
      this.kept = [];
      if (this.paused) this.paused = [];
    });
    $("events").addEventListener("click", (click) => {
      const item = click.target.closest("button")?.shown;
      if (item?.fields) details(`${item.event}, ${item.server} number ${item.seq}`, item.fields);
    });
  }

  take(event) {
    this.seen += 1;
    this.#count(1);
    this.#keep({ ...event, key: `${event.server} ${event.epoch} ${event.seq}` });
  }

  gap(gap, what) {
    this.#keep({ ...gap, key: `gap ${gap.server} ${gap.epoch} ${gap.after} ${this.seen}`, time: Date.now() / 1000, what });
  }

  count() {
    this.#count(0);
    return this.rate.before ? `${this.rate.before}/s` : "";
  }

  draw() {
    const meets = condition($("events-filter").value.trim());
    const items = (this.paused ?? this.kept).filter(meets);
    setText($("events-summary"), `${items.length} of the last ${(this.paused ?? this.kept).length}, ${this.seen} since this page was opened`);
    keyed($("events"), items.slice(-DRAWN).reverse(), (item) => item.key, create, () => {});
  }

  /** Two numbers, whatever comes: a tab in the background counts for hours, and nobody draws. */
  #count(more) {
    const second = Math.floor(Date.now() / 1000);
    const { second: last, now } = this.rate;
    if (second !== last) this.rate = { second, now: 0, before: second === last + 1 ? now : 0 };
    this.rate.now += more;
  }

  #keep(item) {
    this.kept.push(item);
    if (this.kept.length > 2 * KEPT) this.kept = this.kept.slice(-KEPT);
  }

  #pause() {
    this.paused = this.paused ? null : this.kept.slice();
    $("events-pause").setAttribute("aria-pressed", Boolean(this.paused));
    setText($("events-pause"), this.paused ? "Go on" : "Pause");
  }
}

/** `Channel~PJSIP` and `Queue=support` are conditions on a header; anything else is looked for everywhere. Gaps are always shown. */
function condition(text) {
  if (!text) return () => true;
  const [, name, sign, value] = /^([\w-]+)([=~])(.*)$/.exec(text) ?? [];
  const values = (item, header) => Object.entries(item.fields).flatMap(([key, one]) => (key.toLowerCase() === header ? [one].flat() : []));
  if (name) return (item) => !item.fields || values(item, name.toLowerCase()).some((one) => (sign === "=" ? one === value : String(one).includes(value)));
  const wanted = text.toLowerCase();
  return (item) => !item.fields || `${item.event} ${Object.values(item.fields).join(" ")}`.toLowerCase().includes(wanted);
}

const TELLING = ["Channel", "DestChannel", "Queue", "Interface", "Variable", "Value", "Device", "State", "Cause-txt", "Application", "UserEvent", "Reason"];

function create(item) {
  if (!item.fields) return make("li", { className: "gap" }, make("time", {}, clock(item.time)), make("b", {}, "gap"), `${item.server}: ${item.what}`);
  const telling = TELLING.filter((name) => item.fields[name]).map((name) => `${name} ${item.fields[name]}`).join("   ");
  const button = make("button", { type: "button", className: "row" }, make("time", {}, clock(item.time)), make("span", { className: "server" }, item.server),
    make("b", {}, item.event), make("span", { className: "what" }, telling));
  button.shown = item;
  return make("li", {}, button);
}
