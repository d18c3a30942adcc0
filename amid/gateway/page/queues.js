// The view of queues: members, callers, and how long they wait.

import { describeQueues } from "./describe.js";
import { $, duration, make, reconcile, searchFilter, setText } from "./dom.js";

export class QueuesView {
  constructor(states, actions) {
    this.states = states;
    this.actions = actions;
    this.described = new Map(); // server -> its queues, and the version of the state that they are of
    $("queues").addEventListener("click", (click) => {
      const button = click.target.closest("button[data-act]");
      if (button) actions[button.dataset.act](button.closest(".queue").described, button.closest("li")?.member);
    });
  }

  waiting() {
    return [...this.states.values()].reduce((sum, pbx) => sum + pbx.callers.size, 0);
  }

  count() {
    const waiting = this.waiting();
    return waiting ? `${waiting} waiting` : "";
  }

  draw(now) {
    const all = [...this.states.values()].flatMap((pbx) => this.#queuesOf(pbx));
    const matches = searchFilter($("queues-filter").value);
    const queues = all.filter((one) => matches(one.searchText));
    queues.sort((one, other) => other.callers.length - one.callers.length || one.queue.name.localeCompare(other.queue.name));
    const waiting = all.reduce((sum, one) => sum + one.callers.length, 0);
    const free = all.reduce((sum, one) => sum + one.members.filter((member) => member.group === "free").length, 0);
    setText($("queues-summary"), `${queues.length} of ${all.length} queues, ${waiting} waiting, ${free} free`);
    const loaded = [...this.states.values()].some((pbx) => pbx.loaded);
    setText($("queues-empty"), all.length ? "No queues match." : loaded ? "No queues." : "");
    $("queues-empty").hidden = queues.length > 0;
    const update = (element, described) => this.#update(element, described, now);
    reconcile($("queues"), queues, (one) => one.id, create, update);
  }

  /** The described queues of a PBX. They are computed once for each version of its state. */
  #queuesOf(pbx) {
    let known = this.described.get(pbx.server);
    if (known?.pbx !== pbx || known.version !== pbx.version) {
      this.described.set(pbx.server, (known = { pbx, version: pbx.version, queues: describeQueues(pbx) }));
    }
    return known.queues;
  }

  #update(element, described, now) {
    const { queue, callers, members, longest, server } = described;
    const [head, facts, columns] = element.children;
    const [callerColumn, memberColumn] = columns.children;
    element.described = described;
    element.dataset.state = callers.length ? "waiting" : "quiet";
    setText(head.children[0], queue.name);
    setText(head.children[1], this.states.size > 1 ? server : "");
    head.children[2].hidden = !this.actions.may("QueueAdd", server);
    const values = [callers.length, longest === null ? "–" : duration(now - longest), queue.completed, queue.abandoned];
    values.forEach((value, place) => setText(facts.children[place].lastChild, String(value)));
    reconcile(
      callerColumn.children[1],
      callers,
      (caller) => caller.id,
      createCaller,
      (item, caller) => updateCaller(item, caller, now),
    );
    reconcile(
      memberColumn.children[1],
      members,
      (member) => member.id,
      createMember,
      (item, member) => this.#updateMember(item, member, server, now),
    );
    callerColumn.children[2].hidden = callers.length > 0;
    memberColumn.children[2].hidden = members.length > 0;
  }

  #updateMember(item, member, server, now) {
    const [name, state, time, more, buttons] = item.children;
    const [pause, remove] = buttons.children;
    item.member = member;
    item.dataset.state = member.group;
    setText(name, member.name);
    if (name.title !== member.interface) name.title = member.interface;
    setText(state, member.state);
    setText(time, member.from === null ? "" : duration(now - member.from));
    setText(more, `${member.calls_taken} taken${member.penalty ? `, penalty ${member.penalty}` : ""}`);
    const verb = member.paused ? "Unpause" : "Pause";
    setText(pause, `${verb}…`);
    pause.hidden = !this.actions.may("QueuePause", server);
    remove.hidden = !this.actions.may("QueueRemove", server);
    if (pause.ariaLabel === `${verb} ${member.name}`) return;
    pause.ariaLabel = `${verb} ${member.name}`;
    remove.ariaLabel = `Remove ${member.name}`;
  }
}

const FACTS = ["waiting", "longest wait", "answered", "abandoned"];

function create() {
  const head = make("header", {}, make("b"), make("span", { className: "server" }), createButton("addMember", "Add member"));
  const facts = make("dl", { className: "facts" }, ...FACTS.map((name) => make("div", {}, make("dt", {}, name), make("dd"))));
  const callers = make(
    "div",
    {},
    make("h3", {}, "Waiting"),
    make("ol", { className: "waiting" }),
    make("p", { className: "none" }, "No callers."),
  );
  const members = make(
    "div",
    {},
    make("h3", {}, "Members"),
    make("ul", { className: "members" }),
    make("p", { className: "none" }, "No members."),
  );
  return make("article", { className: "queue" }, head, facts, make("div", { className: "columns" }, callers, members));
}

function createButton(act, text) {
  const button = make("button", { type: "button", className: "quiet small" }, `${text}…`);
  button.dataset.act = act;
  return button;
}

const createCaller = () => make("li", {}, make("span", { className: "place" }), make("span", { className: "name" }), make("time"));

function updateCaller(item, caller, now) {
  setText(item.children[0], String(caller.position));
  setText(item.children[1], caller.label);
  setText(item.children[2], duration(now - caller.since));
}

function createMember() {
  const buttons = make("span", { className: "acts" }, createButton("pauseMember", "Pause"), createButton("removeMember", "Remove"));
  return make(
    "li",
    {},
    make("span", { className: "name" }),
    make("span", { className: "state" }),
    make("time"),
    make("span", { className: "more" }),
    buttons,
  );
}
