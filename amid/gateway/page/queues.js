// The view of queues: who answers, who waits, and for how long.

import { $, duration, keyed, make, setText, showEmpty } from "./dom.js";
import { MEMBER_STATES } from "./pbx.js";

export class Queues {
  constructor(pbxs) {
    this.pbxs = pbxs;
  }

  count() {
    const waiting = this.#all().reduce((sum, { queue }) => sum + queue.waiting.size, 0);
    return waiting ? `${waiting} wait` : "";
  }

  draw(now) {
    const all = this.#all();
    showEmpty($("queues-empty"), all.length > 0, this.pbxs, "queues", "No queues.");
    keyed($("queues"), all, ({ server, queue }) => `${server} ${queue.name}`, create, (element, one) => update(element, one, now, this.pbxs.size > 1));
  }

  #all() {
    const all = [...this.pbxs.values()].flatMap((pbx) => [...pbx.queues.values()].map((queue) => ({ server: pbx.server, queue })));
    return all.sort((one, other) => other.queue.waiting.size - one.queue.waiting.size || one.queue.name.localeCompare(other.queue.name));
  }
}

function create() {
  const head = make("header", {}, make("b"), make("span", { className: "server" }), make("span", { className: "facts" }));
  const waiting = make("div", {}, make("h3", {}, "Waiting"), make("ol", { className: "waiting" }), make("p", { className: "none" }, "Nobody waits."));
  const members = make("div", {}, make("h3", {}, "Members"), make("ul", { className: "members" }), make("p", { className: "none" }, "No members."));
  return make("article", { className: "queue" }, head, make("div", { className: "columns" }, waiting, members));
}

function update(element, { server, queue }, now, several) {
  const [name, where, facts] = element.firstChild.children;
  const [waiting, members] = element.lastChild.children;
  setText(name, queue.name);
  setText(where, several ? server : "");
  setText(facts, `${queue.completed} answered, ${queue.abandoned} gave up`);
  const callers = [...queue.waiting.values()].sort((one, other) => one.position - other.position);
  keyed(waiting.children[1], callers, (caller) => caller.id, line, (item, caller) => showLine(item, caller.who, "", duration(now - caller.since), "waiting"));
  keyed(members.children[1], [...queue.members.values()], (member) => member.at, line, showMember);
  waiting.children[2].hidden = callers.length > 0;
  members.children[2].hidden = queue.members.size > 0;
}

const line = () => make("li", {}, make("span", { className: "name" }), make("span", { className: "state" }), make("span", { className: "more" }));

function showMember(item, member) {
  const state = member.paused ? "paused" : MEMBER_STATES[member.status] ?? "unknown";
  const kind = member.paused ? "paused" : { 1: "free", 2: "talking", 3: "talking", 6: "ringing", 7: "ringing", 8: "talking" }[member.status] ?? "away";
  showLine(item, member.name, state, `${member.taken} taken`, kind);
}

function showLine(item, name, state, more, kind) {
  const [first, second, third] = item.children;
  item.dataset.state = kind;
  setText(first, name ?? "");
  setText(second, state);
  setText(third, more);
}
