// What is going on in one PBX: its channels and queues. Loaded whole from the answers to actions, then followed by events.
// Pure: it knows no page and no network. Events that a snapshot has already seen change nothing twice.

/** `Up for` and `waits` are told in these answers as seconds or as H:MM:SS; the page wants the moment, in seconds since 1970. */
function since(text, now) {
  const parts = String(text ?? "0").split(":").map(Number);
  const seconds = parts.reduce((sum, part) => sum * 60 + part, 0);
  return now - (Number.isFinite(seconds) ? seconds : 0);
}

/** Status of a queue's member (main/app_queue.c, enum of device states). */
export const MEMBER_STATES = ["unknown", "free", "in use", "busy", "invalid", "unavailable", "ringing", "in use, ringing", "on hold"];

export class Pbx {
  constructor(server) {
    this.server = server;
    this.channels = new Map(); // by Uniqueid
    this.queues = new Map(); // by name
    this.uncounted = new Set(); // queues in which a call ended since Asterisk's counters were asked for
    this.refusals = { calls: "", queues: "" }; // why a list is not shown
    this.changed = 0; // grows with every change
  }

  /** Take a snapshot: the events of CoreShowChannels and of QueueStatus. `now` in seconds since 1970. */
  load(channels, queues, now) {
    this.channels.clear();
    this.queues.clear();
    for (const one of channels) this.#shown(one, now);
    for (const one of queues) this.#queueItem(one, now);
    this.changed += 1;
  }

  /** Take the counters of an answer to QueueStatus. */
  count(items) {
    for (const item of items) if (item.Event === "QueueParams") this.#counters(item);
    this.changed += 1;
  }

  /** Follow an event. */
  apply({ event, fields, time }) {
    const follow = EVENTS.get(event);
    if (!follow) return;
    follow(this, single(fields), time);
    this.changed += 1;
  }

  /** The channels as calls: those that share a Linkedid, the longest first. */
  calls() {
    const calls = new Map();
    for (const channel of this.channels.values()) {
      const id = channel.linkedid || channel.id;
      if (!calls.has(id)) calls.set(id, { id: `${this.server} ${id}`, server: this.server, since: channel.since, channels: [] });
      const call = calls.get(id);
      call.channels.push(channel);
      call.since = Math.min(call.since, channel.since);
    }
    return [...calls.values()];
  }

  #shown(item, now) {
    const channel = this.channel(item, since(item.Duration, now));
    if (!channel) return;
    channel.application = item.Application ?? "";
    channel.bridge = item.BridgeId ?? "";
  }

  #queueItem(item, now) {
    const queue = this.queue(item.Queue);
    if (item.Event === "QueueParams") this.#counters(item);
    if (item.Event === "QueueMember") this.member(queue, item.Location, item);
    if (item.Event === "QueueEntry") this.waits(queue, item, since(item.Wait, now));
  }

  #counters(item) {
    Object.assign(this.queue(item.Queue), { strategy: item.Strategy, completed: +item.Completed, abandoned: +item.Abandoned });
  }

  /** The channel that a packet is about, with what the packet says of it. Null when it names none. */
  channel(fields, began) {
    const id = fields.Uniqueid;
    if (!id) return null;
    const channel = this.channels.get(id) ?? { id, since: began, bridge: "", application: "" };
    channel.name = fields.Channel ?? channel.name;
    channel.linkedid = fields.Linkedid ?? channel.linkedid;
    channel.state = fields.ChannelStateDesc ?? channel.state;
    channel.number = fields.CallerIDNum ?? channel.number;
    channel.person = fields.CallerIDName ?? channel.person;
    channel.exten = fields.Exten ?? channel.exten;
    channel.context = fields.Context ?? channel.context;
    this.channels.set(id, channel);
    return channel;
  }

  queue(name) {
    if (!this.queues.has(name)) this.queues.set(name, { name, strategy: "", completed: 0, abandoned: 0, members: new Map(), waiting: new Map() });
    return this.queues.get(name);
  }

  member(queue, at, fields) {
    queue.members.set(at, {
      at,
      name: fields.MemberName ?? fields.Name ?? at,
      status: Number(fields.Status ?? 0),
      paused: fields.Paused === "1",
      talking: fields.InCall === "1",
      taken: Number(fields.CallsTaken ?? 0),
    });
  }

  waits(queue, fields, began) {
    const who = fields.CallerIDName && fields.CallerIDName !== "<unknown>" ? fields.CallerIDName : fields.CallerIDNum;
    queue.waiting.set(fields.Uniqueid, { id: fields.Uniqueid, who, channel: fields.Channel, since: began, position: Number(fields.Position) });
  }
}

/** The first of a header that occurs more than once: a UserEvent's values can forge an event, and shall not end the page. */
const single = (fields) => Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, [value].flat()[0]]));

const update = (pbx, fields) => pbx.channels.has(fields.Uniqueid) && pbx.channel(fields);

function rename(pbx, fields) {
  const channel = pbx.channels.get(fields.Uniqueid);
  if (channel) channel.name = fields.Newname;
}

function bridged(pbx, fields, bridge, time) {
  const channel = pbx.channel(fields, time);
  if (channel) channel.bridge = bridge;
}

/** One who joins before others, by priority, moves them back. */
function joins(pbx, fields, time) {
  const queue = pbx.queue(fields.Queue);
  if (queue.waiting.has(fields.Uniqueid)) return;
  for (const other of queue.waiting.values()) if (other.position >= Number(fields.Position)) other.position += 1;
  pbx.waits(queue, fields, time);
}

/** A call of a queue ended: who counts it is Asterisk. */
const ended = (pbx, fields) => pbx.uncounted.add(fields.Queue);

function leaves(pbx, fields) {
  const queue = pbx.queue(fields.Queue);
  const gone = queue.waiting.get(fields.Uniqueid);
  queue.waiting.delete(fields.Uniqueid);
  if (gone) for (const other of queue.waiting.values()) if (other.position > gone.position) other.position -= 1;
}

const member = (pbx, fields) => pbx.member(pbx.queue(fields.Queue), fields.Interface, fields);

/** What each event changes. */
const EVENTS = new Map(Object.entries({
  Newchannel: (pbx, fields, time) => pbx.channel(fields, time),
  Newstate: update,
  NewCallerid: update,
  NewConnectedLine: update,
  Newexten: (pbx, fields) => {
    const channel = update(pbx, fields);
    if (channel) channel.application = fields.Application ?? "";
  },
  Rename: rename,
  BridgeEnter: (pbx, fields, time) => bridged(pbx, fields, fields.BridgeUniqueid, time),
  BridgeLeave: (pbx, fields) => pbx.channels.has(fields.Uniqueid) && bridged(pbx, fields, ""),
  Hangup: (pbx, fields) => pbx.channels.delete(fields.Uniqueid),
  QueueCallerJoin: joins,
  QueueCallerLeave: leaves,
  QueueCallerAbandon: ended,
  AgentComplete: ended,
  QueueMemberAdded: member,
  QueueMemberStatus: member,
  QueueMemberPause: member,
  QueueMemberPenalty: member,
  QueueMemberRemoved: (pbx, fields) => pbx.queue(fields.Queue).members.delete(fields.Interface),
}));
