// The console: this PBX's own actions, with completion, and what it answers.

import { CallError, action, call } from "./api.js";
import { $, make, setText } from "./dom.js";

const KEPT = 20;
const MOST = 500; // items of a list

export class Console {
  constructor() {
    this.known = new Map(); // server -> its actions by name in lower case
    $("console").addEventListener("submit", (submit) => {
      submit.preventDefault();
      this.#send();
    });
    $("console-server").addEventListener("change", () => this.#offer());
    $("console-action").addEventListener("focus", () => this.#offer()); // once more: the PBX may have been away
    $("console-action").addEventListener("input", () => this.#hint());
  }

  servers(names) {
    const select = $("console-server");
    if ([...select.options].map((option) => option.value).join() === names.join()) return;
    select.replaceChildren(...names.map((name) => make("option", { value: name }, name)));
    this.#offer();
  }

  /** The PBX may offer other actions now. */
  forget(server) {
    this.known.delete(server);
  }

  draw() {}

  async #offer() {
    const server = $("console-server").value;
    if (!server) return;
    if (!this.known.has(server)) {
      try {
        const actions = await call("actions", { server });
        this.known.set(server, new Map(actions.map((one) => [one.name.toLowerCase(), one])));
      } catch {
        return; // the PBX is away, or this token may not ask: it can be typed all the same
      }
    }
    const options = [...this.known.get(server).values()].map((one) => make("option", { value: one.name }, one.synopsis));
    $("console-actions").replaceChildren(...options);
    this.#hint();
  }

  #hint() {
    const one = this.known.get($("console-server").value)?.get($("console-action").value.toLowerCase());
    const needs = one && one.privilege && one.privilege !== "<none>" ? `(needs ${one.privilege})` : "";
    setText($("console-hint"), one ? `${one.synopsis} ${needs}` : "");
  }

  async #send() {
    const [server, name] = [$("console-server").value, $("console-action").value.trim()];
    const answer = make("article", { className: "answer" });
    const head = make("header", {}, make("b", {}, name), make("span", { className: "server" }, server), make("span", { className: "took" }, "…"));
    answer.append(head);
    $("console-answers").prepend(answer);
    while ($("console-answers").children.length > KEPT) $("console-answers").lastChild.remove();
    const more = { timeout: Number($("console-timeout").value) || 5 };
    if ($("console-until").value.trim()) more.until = $("console-until").value.trim();
    try {
      const result = await action(server, name, fields($("console-fields").value), more);
      setText(head.lastChild, `${(result.elapsed * 1000).toFixed(1)} ms`);
      answer.append(...shown(result));
    } catch (error) {
      answer.dataset.state = "failed";
      setText(head.lastChild, `${error.kind}, ${error.sent ? "it may have been carried out" : "not sent"}`);
      answer.append(make("p", { className: "error" }, error.message));
      if (error.response) answer.append(packet(error.response));
    }
  }
}

/** The fields that lines say; a name that occurs more than once has a list. */
function fields(lines) {
  const found = {};
  for (const line of lines.split("\n").filter((one) => one.trim())) {
    const at = line.search(/[:=]/);
    if (at < 1) throw new CallError(`a line is \`Name: value\`, and this one is not: ${line}`, 400, { kind: "invalid_params" });
    const [name, value] = [line.slice(0, at).trim(), line.slice(at + 1).trim()];
    found[name] = name in found ? [found[name], value].flat() : value;
  }
  return found;
}

function shown(result) {
  const parts = result.output.length ? [make("pre", {}, result.output.join("\n"))] : [packet(result.response)];
  if (result.until) parts.push(make("h3", {}, result.until.Event), packet(result.until));
  for (const [event, items] of byEvent(result.events)) parts.push(make("h3", {}, heading(event, items.length)), list(items));
  return parts;
}

const heading = (event, count) => `${event}: ${count}${count > MOST ? `, the first ${MOST} are shown` : ""}`;

/** The items of a list that are of the same kind, in the order of the first of each. */
function byEvent(items) {
  const kinds = new Map();
  for (const item of items) {
    if (!kinds.has(item.Event)) kinds.set(item.Event, []);
    kinds.get(item.Event).push(item);
  }
  return kinds;
}

function packet(headers) {
  const rows = Object.entries(headers).flatMap(([name, value]) => [value].flat().map((one) => row(name, one)));
  return make("table", { className: "plain" }, make("tbody", {}, ...rows));
}

const row = (name, value) => make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, String(value)));

/** Items as a table with a column for each header. */
function list(items) {
  const names = [...new Set(items.flatMap(Object.keys))].filter((name) => name !== "ActionID" && name !== "Event");
  const head = make("tr", {}, ...names.map((name) => make("th", { scope: "col" }, name)));
  const rows = items.slice(0, MOST).map((item) => make("tr", {}, ...names.map((name) => make("td", {}, [item[name] ?? ""].flat().join(", ")))));
  return make("div", { className: "wide-table" }, make("table", { className: "plain" }, make("thead", {}, head), make("tbody", {}, ...rows)));
}
