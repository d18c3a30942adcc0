// The view of calls: who talks to whom, since when, and buttons for what the token may do.

import { describeCalls, label } from "./describe.js";
import { $, ARROW, duration, make, reconcile, searchFilter, setText } from "./dom.js";

const MAX_SHOWN = 300; // the summary counts the others

const STATES = { talking: "talking", held: "on hold", waiting: "waiting", ringing: "ringing", parked: "parked", up: "answered" };
const DIRECTIONS = { in: "↘ in", out: "↗ out", internal: "⇄ internal", through: "→ through" };

export class CallsView {
  /** `recorded` is the view of recorded calls. */
  constructor(states, actions, recorded) {
    this.states = states;
    this.actions = actions;
    this.recorded = recorded;
    this.described = new Map(); // server -> its calls, and the version of the state that they are of
    $("calls-new").addEventListener("click", () => actions.originate());
    $("calls").addEventListener("click", (click) => {
      const button = click.target.closest("button[data-act]");
      if (!button) return;
      const { call } = button.closest(".call");
      if (button.dataset.act === "history") recorded.open(call.server, call.call.linkedid);
      else actions[button.dataset.act](call);
    });
  }

  number() {
    return [...this.states.values()].reduce((sum, pbx) => sum + pbx.calls.size, 0);
  }

  count() {
    return String(this.number());
  }

  draw(now) {
    const all = [...this.states.values()].flatMap((pbx) => this.#callsOf(pbx));
    const matches = searchFilter($("calls-filter").value);
    const calls = all.filter((call) => matches(call.searchText));
    const channels = all.reduce((sum, call) => sum + call.channels, 0);
    const more = calls.length > MAX_SHOWN ? `, the oldest ${MAX_SHOWN} are shown` : "";
    setText($("calls-summary"), `${calls.length} of ${all.length} calls, ${channels} channels${more}`);
    $("calls-new").hidden = !this.actions.may("Originate");
    const loaded = [...this.states.values()].some((pbx) => pbx.loaded);
    setText($("calls-empty"), all.length ? "No calls match." : loaded ? "No calls." : "");
    $("calls-empty").hidden = calls.length > 0;
    const update = (element, call) => this.#update(element, call, now);
    reconcile($("calls"), calls.slice(0, MAX_SHOWN), (call) => call.id, create, update);
  }

  /** The described calls of a PBX. They are computed once for each version of its state. */
  #callsOf(pbx) {
    let known = this.described.get(pbx.server);
    if (known?.pbx !== pbx || known.version !== pbx.version) {
      this.described.set(pbx.server, (known = { pbx, version: pbx.version, calls: describeCalls(pbx) }));
    }
    return known.calls;
  }

  #update(element, call, now) {
    const [who, what, legs, folded, buttons] = element.children;
    const [chip, direction, server, time] = what.children;
    element.call = call;
    element.dataset.state = call.state;
    setText(who.children[0], call.who);
    setText(who.children[2], call.whom);
    who.children[1].hidden = !call.whom;
    setText(chip, STATES[call.state] ?? call.state);
    setText(direction, DIRECTIONS[call.direction] ?? "");
    setText(server, this.states.size > 1 ? call.server : "");
    setText(time, times(call, now));
    reconcile(
      legs,
      call.legs,
      (leg) => leg.channel.uniqueid,
      createLeg,
      (item, leg) => updateLeg(item, leg, now),
    );
    setText(folded, call.folded.length ? `and ${call.folded.length} Local channel${call.folded.length > 1 ? "s" : ""}` : "");
    if (call.folded.length) folded.title = call.folded.join("\n");
    this.#offer(buttons, call);
  }

  /** Show the buttons of the actions that are possible. */
  #offer(buttons, call) {
    let any = false;
    for (const button of buttons.children) {
      const { act } = button.dataset;
      const possible = act === "history" ? this.recorded.available : this.#isPossible(act, call);
      if (button.hidden === possible) button.hidden = !possible;
      const description = `${BUTTONS[act].label} the call of ${call.who}`;
      if (possible && button.ariaLabel !== description) button.ariaLabel = description;
      any ||= possible;
    }
    buttons.hidden = !any;
  }

  #isPossible(act, call) {
    return this.actions.may(BUTTONS[act].action, call.server) && (act === "hangUp" || this.actions.parties(call).length > 0);
  }
}

const BUTTONS = {
  hangUp: { text: "Hang up…", label: "Hang up", action: "Hangup" },
  transfer: { text: "Transfer…", label: "Transfer", action: "BlindTransfer" },
  park: { text: "Park…", label: "Park", action: "Park" },
  history: { text: "History", label: "History of" },
};

function create() {
  const who = make(
    "p",
    { className: "who" },
    make("b"),
    make("span", { className: "arrow", ariaHidden: "true" }, ARROW),
    make("b"),
  );
  const parts = [
    make("span", { className: "chip" }),
    make("span", { className: "direction" }),
    make("span", { className: "server" }),
    make("time"),
  ];
  const buttons = Object.entries(BUTTONS).map(([act, { text }]) => {
    const button = make("button", { type: "button", className: "quiet small" }, text);
    button.dataset.act = act;
    return button;
  });
  return make(
    "article",
    { className: "call" },
    who,
    make("p", { className: "what-now" }, ...parts),
    make("ul", { className: "legs" }),
    make("p", { className: "folded" }),
    make("div", { className: "acts" }, ...buttons),
  );
}

/** How long the caller waited and talks. */
function times(call, now) {
  if (call.talk !== null) {
    const waited = call.talk - call.since;
    return `${waited >= 1 ? `waited ${duration(waited)}, ` : ""}talk ${duration(now - call.talk)}`;
  }
  if (call.wait === null) return duration(now - call.since);
  const before = call.wait - call.since;
  return `${call.state === "parked" ? "parked" : "waits"} ${duration(now - call.wait)}${before >= 1 ? ` of ${duration(now - call.since)}` : ""}`;
}

function createLeg() {
  return make(
    "li",
    {},
    make("span", { className: "name" }),
    make("time"),
    make("span", { className: "state" }),
    make("span", { className: "channel" }),
  );
}

function updateLeg(item, leg, now) {
  const [name, time, state, channel] = item.children;
  item.dataset.state = leg.state;
  setText(name, label(leg));
  setText(time, duration(now - leg.begun));
  setText(state, leg.text);
  setText(channel, leg.channel.name);
}
