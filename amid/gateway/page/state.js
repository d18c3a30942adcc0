// The live state of each PBX: the whole state first, then changes, which are merged into it. Pure.
// The worker and every tab have a copy. `describe.js` interprets it.

/** Kinds of things that the page follows: the name in a change, and the name of their list. */
export const KINDS = {
  channel: "channels",
  call: "calls",
  bridge: "bridges",
  queue: "queues",
  member: "members",
  caller: "callers",
  hint: "hints",
  parked: "parked",
  participant: "participants",
};

export class PbxState {
  constructor(server) {
    this.server = server;
    this.loaded = false; // whether a state was received
    this.exact = false;
    this.detail = ""; // why it is not exact
    this.away = ""; // why the daemon has no state now
    this.version = 0; // grows with each change
    for (const kind of Object.values(KINDS)) this[kind] = new Map(); // by id
  }

  /** Replace everything by a result of the method `state`. */
  load(state) {
    Object.assign(this, { loaded: true, exact: state.exact, detail: state.detail, away: "" });
    for (const kind of Object.values(KINDS)) this[kind] = new Map(state[kind].map((thing) => [thing.id, thing]));
    this.version += 1;
  }

  /** Merge a change: new values of members of a thing, or its removal. */
  merge({ kind, id, set, gone }) {
    const things = this[KINDS[kind]];
    if (!this.loaded || !things) return;
    if (gone) things.delete(id);
    else things.set(id, { id, ...things.get(id), ...set });
    this.version += 1;
  }

  /** The whole state, as `load` accepts it. */
  snapshot() {
    const lists = Object.values(KINDS).map((kind) => [kind, [...this[kind].values()]]);
    return { server: this.server, exact: this.exact, detail: this.detail, ...Object.fromEntries(lists) };
  }
}

/** The states of all PBXs, by server. */
export class PbxStates extends Map {
  /** Apply a message of the stream: `state`, `change` or `away`. */
  apply(name, value) {
    const pbx = this.get(value.server) ?? new PbxState(value.server);
    this.set(value.server, pbx);
    if (name === "state") pbx.load(value);
    if (name === "change") pbx.merge(value);
    if (name === "away") pbx.away = value.detail;
  }

  /** The messages that bring another tab to the same state: pairs of a name and a value. */
  messages() {
    return [...this.values()].flatMap((pbx) => [
      ...(pbx.loaded ? [["state", pbx.snapshot()]] : []),
      ...(pbx.away ? [["away", { server: pbx.server, detail: pbx.away }]] : []),
    ]);
  }
}
