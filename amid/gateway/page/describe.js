// The calls and queues of a PBX in terms of people, from its channels, bridges and queues. Pure.
//
// Half of the channels of an Asterisk are halves of Local channels, which are not people. The party
// behind a Local channel is found through its other half. Local channels are shown only in a call
// that has no others.

const MAX_NAMED = 5; // parties of one bridge that are named; above that they are counted
const MAX_EXTENSION = 6; // digits of an internal number, if no hint says more

export const isLocal = (channel) => channel.name.startsWith("Local/");

/** The device of a channel: PJSIP/100 for PJSIP/100-00000001. */
export const deviceOf = (name) => name.replace(/-[^-/]*$/, "");

/** The calls of a PBX, the oldest first. Times are Unix times, so a description is valid until the state changes. */
export function describeCalls(pbx) {
  const index = indexOf(pbx);
  return [...pbx.calls.values()].map((call) => describeCall(call, index, pbx)).sort((one, other) => one.since - other.since);
}

function indexOf(pbx) {
  const { channels, bridges } = pbx;
  const index = {
    channels,
    bridges,
    byName: new Map(),
    inBridge: new Map(),
    phones: phonesOf(pbx),
    waiting: new Map(),
    conferences: new Map(),
  };
  for (const channel of channels.values()) {
    index.byName.set(channel.name, channel);
    if (!channel.bridge) continue;
    if (!index.inBridge.has(channel.bridge)) index.inBridge.set(channel.bridge, []);
    index.inBridge.get(channel.bridge).push(channel);
  }
  for (const caller of pbx.callers.values()) index.waiting.set(caller.uniqueid, caller);
  for (const participant of pbx.participants.values()) index.conferences.set(participant.uniqueid, participant);
  return index;
}

/** Number and name of each phone of this PBX, by device: those of hints and of queue members. */
function phonesOf(pbx) {
  const phones = new Map();
  for (const { hint, exten } of pbx.hints.values()) {
    for (const device of String(hint).split(/[&,|]/)) if (device.includes("/")) phones.set(device, { number: exten, name: "" });
  }
  for (const member of pbx.members.values()) {
    const { device, name } = member;
    for (const phone of [device, member.interface]) {
      if (!phone || phone.startsWith("Local/")) continue;
      const named = name && name !== phone && name !== member.interface;
      phones.set(phone, { number: phones.get(phone)?.number ?? "", name: named ? name : "" });
    }
  }
  return phones;
}

/** Name and number of the party at a channel. If neither is known, the name is its device. */
export function partyAt(channel, phones) {
  const phone = phones.get(deviceOf(channel.name));
  const name = channel.caller_name || phone?.name || "";
  const number = channel.caller || phone?.number || "";
  return { name: name || (number ? "" : deviceOf(channel.name)), number };
}

export const label = ({ name, number }) => (name && number && name !== number ? `${name} ${number}` : name || number);

/** The other channels in a channel's bridge, seen through Local channels. */
function partnersOf(channel, index, seen = new Set()) {
  seen.add(channel.uniqueid);
  const partners = [];
  for (const other of index.inBridge.get(channel.bridge) ?? []) {
    if (seen.has(other.uniqueid)) continue;
    seen.add(other.uniqueid);
    const half = isLocal(other) ? index.byName.get(otherHalf(other.name)) : null;
    const behind = half && !seen.has(half.uniqueid) ? partnersOf(half, index, seen) : [];
    partners.push(...(behind.length ? behind : [other]));
  }
  return partners;
}

const otherHalf = (name) => name.slice(0, -1) + (name.endsWith("1") ? "2" : "1");

function describeCall(call, index, pbx) {
  const all = call.channels.map((id) => index.channels.get(id)).filter(Boolean);
  const people = all.filter((channel) => !isLocal(channel));
  const shown = people.length ? people : all;
  const first = shown.find((channel) => channel.uniqueid === call.linkedid) ?? shown[0];
  const legs = shown.map((channel) => describeLeg(channel, index, pbx));
  const who = first ? partyAt(first, index.phones) : { name: call.caller_name, number: call.caller };
  const described = {
    id: `${pbx.server} ${call.linkedid}`,
    server: pbx.server,
    call,
    legs,
    folded: all.filter((channel) => !shown.includes(channel)).map((channel) => channel.name),
    since: call.since,
    channels: all.length,
    who: label(who) || call.linkedid,
    ...activityOf(call, first, legs),
    direction: directionOf(call, first, legs, index.phones),
  };
  const { whom, direction, state } = described;
  const words = [
    described.who,
    whom,
    direction,
    state,
    call.exten,
    call.linkedid,
    ...legs.flatMap((leg) => [label(leg), leg.channel.name, leg.text]),
  ];
  return { ...described, searchText: words.join(" ").toLowerCase() };
}

/** A channel of a call: its party, `state`, `text` (what it does), `whom` (with whom), and `begun` (since when). */
function describeLeg(channel, index, pbx) {
  const waits = index.waiting.get(channel.uniqueid);
  const conference = index.conferences.get(channel.uniqueid);
  const parked = pbx.parked.get(channel.uniqueid);
  const partners = channel.bridge && !conference && !parked ? partnersOf(channel, index) : [];
  const leg = {
    ...partyAt(channel, index.phones),
    channel,
    partners,
    bridged: index.inBridge.get(channel.bridge) ?? [],
    begun: channel.since,
  };
  if (parked)
    return { ...leg, state: "parked", text: `parked at ${parked.space}`, begun: parked.since, whom: `parked at ${parked.space}` };
  if (waits)
    return {
      ...leg,
      state: "waiting",
      text: `position ${waits.position} in queue ${waits.queue}`,
      begun: waits.since,
      whom: `queue ${waits.queue}`,
    };
  if (conference) {
    const where = `conference ${conference.conference}`;
    return { ...leg, state: "talking", text: `in ${where}`, begun: conference.since, whom: where };
  }
  if (partners.length) return describeTalk(leg, index);
  if (channel.held) return { ...leg, state: "held", text: "on hold" };
  if (channel.state === "Ringing") return { ...leg, state: "ringing", text: "is ringing" };
  if (channel.state === "Ring") return { ...leg, state: "ringing", text: channel.exten ? `calls ${channel.exten}` : "calls" };
  return {
    ...leg,
    state: channel.state === "Up" ? "up" : "down",
    text: channel.state === "Up" ? "answered" : channel.state.toLowerCase(),
  };
}

function describeTalk(leg, { bridges, phones }) {
  const { channel, partners } = leg;
  const whom =
    partners.length > MAX_NAMED ? `${partners.length} others` : partners.map((other) => label(partyAt(other, phones))).join(", ");
  const begun = Math.max(bridges.get(channel.bridge)?.since ?? channel.since, channel.since);
  return {
    ...leg,
    state: channel.held ? "held" : "talking",
    text: `${channel.held ? "on hold with" : "talks to"} ${whom}`,
    whom,
    begun,
  };
}

/** What a call does: the most important state of its legs. `talk` and `wait` are when these began, or null. */
function activityOf(call, first, legs) {
  const legIn = (state) =>
    legs.find((leg) => leg.channel === first && leg.state === state) ?? legs.find((leg) => leg.state === state);
  const parked = legIn("parked");
  if (parked) return { state: "parked", whom: parked.whom, wait: parked.begun, talk: null };
  const talking = legIn("held") ?? legIn("talking");
  if (talking) return { state: talking.state, whom: calleeOf(talking, first, call), wait: null, talk: talking.begun };
  const waiting = legIn("waiting");
  if (waiting) return { state: "waiting", whom: waiting.whom, wait: waiting.begun, talk: null };
  const ringing = legs.filter((leg) => leg.channel !== first && leg.state === "ringing");
  if (ringing.length) {
    const whom = ringing.length > MAX_NAMED ? `${ringing.length} phones` : ringing.map(label).join(", ");
    return { state: "ringing", whom, wait: call.since, talk: null };
  }
  const state = legs.some((leg) => leg.state === "ringing") ? "ringing" : "up";
  const whom = label({ name: call.connected_name, number: call.connected }) || dialled(call);
  return { state, whom, wait: state === "ringing" ? call.since : null, talk: null };
}

/** The party that the first channel talks to; or the party that talks to the first channel. */
const calleeOf = (leg, first, call) =>
  leg.channel === first || !leg.partners.includes(first) ? leg.whom || dialled(call) : label(leg);

const dialled = (call) => (call.exten && call.exten !== "s" ? call.exten : "");

// ── direction ──

/** "in", "out", "internal" or "through"; "" if unknown. */
function directionOf(call, first, legs, phones) {
  const from = first && isInternal(first, partyAt(first, phones).number, phones);
  const other = legs.find((leg) => leg.channel !== first) ?? legs.find((leg) => leg.partners.length);
  const to = other ? isInternal(other.channel, other.number, phones) : isExtension(call.exten);
  if (from === undefined) return "";
  if (from) return to === false ? "out" : "internal";
  return to === false ? "through" : "in";
}

const isInternal = (channel, number, phones) => (phones.has(deviceOf(channel.name)) ? true : isExtension(number));

/** Whether a number is internal, by its length; undefined for text that is not a number. */
function isExtension(number) {
  if (!/^\+?[0-9*#]+$/.test(number ?? "")) return undefined;
  return number.length <= MAX_EXTENSION;
}

// ── queues ──

/** The queues of a PBX with their callers and members. */
export function describeQueues(pbx) {
  const queues = new Map();
  for (const queue of pbx.queues.values())
    queues.set(queue.name, { id: `${pbx.server} ${queue.name}`, server: pbx.server, queue, callers: [], members: [] });
  const answeredAt = answerTimes(pbx);
  for (const caller of pbx.callers.values()) {
    const party = label({ name: caller.caller_name, number: caller.caller });
    queues.get(caller.queue)?.callers.push({ ...caller, label: party || caller.channel });
  }
  for (const member of pbx.members.values()) queues.get(member.queue)?.members.push(describeMember(member, answeredAt));
  for (const described of queues.values()) {
    const { queue, callers, members } = described;
    callers.sort((one, other) => one.position - other.position);
    members.sort((one, other) => one.name.localeCompare(other.name));
    described.longest = callers.length ? Math.min(...callers.map((caller) => caller.since)) : null;
    const words = [
      queue.name,
      ...callers.map((caller) => caller.label),
      ...members.flatMap((member) => [member.name, member.interface, member.paused_reason]),
    ];
    described.searchText = words.join(" ").toLowerCase();
  }
  return [...queues.values()];
}

/** Device -> when its channel was answered, for devices that talk. */
function answerTimes(pbx) {
  const times = new Map();
  for (const channel of pbx.channels.values())
    if (channel.state === "Up") times.set(deviceOf(channel.name), channel.answered ?? channel.since);
  return times;
}

const GROUPS = {
  "not in use": "free",
  "in use": "talking",
  busy: "talking",
  ringing: "ringing",
  "ring in use": "ringing",
  "on hold": "talking",
};

/** A member with `group` (free, talking, ringing, paused, away), `state` in words, and `from`, when that began, or null. */
function describeMember(member, answeredAt) {
  const name = member.name || member.interface;
  if (member.paused) {
    const state = member.paused_reason ? `paused: ${member.paused_reason}` : "paused";
    return { ...member, name, group: "paused", state, from: member.last_pause || null };
  }
  const group = GROUPS[member.status] ?? "away";
  const talksSince = answeredAt.get(member.device) ?? answeredAt.get(member.interface) ?? null;
  const from = group === "talking" ? talksSince : group === "free" ? member.last_call || null : null;
  return { ...member, name, group, state: group === "free" ? "free" : member.status, from };
}
