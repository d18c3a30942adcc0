// The view of live calls: channels that share a Linkedid are one call.

import { $, duration, keyed, make, setText, showEmpty } from "./dom.js";

const MOST = 300; // calls drawn; the others are counted

export class Calls {
  constructor(pbxs) {
    this.pbxs = pbxs;
  }

  count() {
    return String(this.#all().length);
  }

  draw(now) {
    const wanted = $("calls-filter").value.toLowerCase();
    const all = this.#all();
    const calls = all.filter((call) => !wanted || call.channels.some((channel) => text(channel).includes(wanted)));
    calls.sort((one, other) => one.since - other.since);
    const channels = all.reduce((sum, call) => sum + call.channels.length, 0);
    const more = calls.length > MOST ? `, the longest ${MOST} are shown` : "";
    setText($("calls-summary"), `${calls.length} of ${all.length} calls, ${channels} channels${more}`);
    showEmpty($("calls-empty"), calls.length > 0, this.pbxs, "calls", all.length ? "No call meets the filter." : "No calls.");
    const bridges = occupied(all);
    const show = (element, call) => update(element, call, { now, bridges, several: this.pbxs.size > 1 });
    keyed($("calls"), calls.slice(0, MOST), (call) => call.id, create, show);
  }

  #all() {
    return [...this.pbxs.values()].flatMap((pbx) => pbx.calls());
  }
}

const text = (channel) => `${channel.name} ${channel.number} ${channel.person} ${channel.exten}`.toLowerCase();

function create() {
  const head = make("header", {}, make("b", { className: "who" }), make("span", { className: "server" }), make("time"));
  return make("article", { className: "call" }, head, make("ul", { className: "legs" }));
}

/** The bridges with at least two channels in them, of whatever calls: who is alone in one talks to nobody. */
function occupied(calls) {
  const seen = new Set();
  const bridges = new Set();
  for (const { bridge } of calls.flatMap((call) => call.channels)) {
    if (bridge && seen.has(bridge)) bridges.add(bridge);
    seen.add(bridge);
  }
  return bridges;
}

function update(element, call, { now, bridges, several }) {
  const [who, server, time] = element.firstChild.children;
  const [first] = call.channels;
  const talking = call.channels.some((channel) => bridges.has(channel.bridge));
  element.dataset.state = talking ? "talking" : call.channels.some((channel) => channel.state?.startsWith("Ring")) ? "ringing" : "up";
  setText(who, named(first) + (first.exten && first.exten !== "s" ? ` → ${first.exten}` : ""));
  setText(server, several ? call.server : "");
  setText(time, duration(now - call.since));
  keyed(element.lastChild, call.channels, (channel) => channel.id, leg, (item, channel) => showLeg(item, channel, now));
}

const leg = () => make("li", {}, make("span", { className: "name" }), make("span", { className: "state" }), make("time"));

function showLeg(item, channel, now) {
  const [name, state, time] = item.children;
  setText(name, channel.name ?? "");
  setText(state, channel.bridge ? `talking, bridge ${channel.bridge.slice(0, 8)}` : [channel.state, channel.application].filter(Boolean).join(", "));
  setText(time, duration(now - channel.since));
}

function named(channel) {
  const known = (value) => value && value !== "<unknown>";
  if (known(channel.person)) return known(channel.number) ? `${channel.person} (${channel.number})` : channel.person;
  return known(channel.number) ? channel.number : channel.name;
}
