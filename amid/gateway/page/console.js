// The console: any action of a server's Asterisk, with completion, and its answer.

import { CallError, action, offered } from "./api.js";
import { $, make, setText } from "./dom.js";

const MAX_ANSWERS = 20;
const MAX_ITEMS = 500; // of one list in an answer

export class ConsoleView {
  constructor() {
    this.offers = new Map(); // server -> its actions by name in lower case
    $("console").addEventListener("submit", (submit) => {
      submit.preventDefault();
      this.#send();
    });
    $("console-server").addEventListener("change", () => this.#complete());
    $("console-action").addEventListener("focus", () => this.#complete()); // the PBX may not have been connected before
    $("console-action").addEventListener("input", () => this.#showHint());
  }

  setServers(names) {
    const select = $("console-server");
    if ([...select.options].map((option) => option.value).join() === names.join()) return;
    select.replaceChildren(...names.map((name) => make("option", { value: name }, name)));
    this.#complete();
  }

  /** Forget the actions of a server, which may offer others now. */
  forget(server) {
    this.offers.delete(server);
  }

  draw() {}

  async #complete() {
    const server = $("console-server").value;
    if (!server) return;
    try {
      this.offers.set(server, await offered(server));
    } catch {
      return; // the PBX is not connected, or the token may not list actions: no completion
    }
    const options = [...this.offers.get(server).values()].map((one) => make("option", { value: one.name }, one.synopsis));
    $("console-actions").replaceChildren(...options);
    this.#showHint();
  }

  #showHint() {
    const offer = this.offers.get($("console-server").value)?.get($("console-action").value.toLowerCase());
    const needs = offer?.privilege && offer.privilege !== "<none>" ? `(needs ${offer.privilege})` : "";
    setText($("console-hint"), offer ? `${offer.synopsis} ${needs}` : "");
  }

  async #send() {
    const [server, name] = [$("console-server").value, $("console-action").value.trim()];
    const answer = make("article", { className: "answer" });
    const head = make(
      "header",
      {},
      make("b", {}, name),
      make("span", { className: "server" }, server),
      make("span", { className: "took" }, "…"),
    );
    answer.append(head);
    $("console-answers").prepend(answer);
    while ($("console-answers").children.length > MAX_ANSWERS) $("console-answers").lastChild.remove();
    const options = { timeout: Number($("console-timeout").value) || 5 };
    if ($("console-until").value.trim()) options.until = $("console-until").value.trim();
    try {
      const result = await action(server, name, parseFields($("console-fields").value), options);
      setText(head.lastChild, `${(result.elapsed * 1000).toFixed(1)} ms`);
      answer.append(...describeResult(result));
    } catch (error) {
      answer.dataset.state = "failed";
      setText(head.lastChild, `${error.kind}, ${error.outcome}`);
      answer.append(make("p", { className: "error" }, error.message));
      if (error.response) answer.append(packetTable(error.response));
    }
  }
}

/** The fields in lines of `Name: value`. A repeated name has a list of values. */
function parseFields(text) {
  const fields = {};
  for (const line of text.split("\n").filter((one) => one.trim())) {
    const at = line.search(/[:=]/);
    if (at < 1) throw new CallError(`this line is not \`Name: value\`: ${line}`, 400, { kind: "invalid_params" });
    const [name, value] = [line.slice(0, at).trim(), line.slice(at + 1).trim()];
    fields[name] = name in fields ? [fields[name], value].flat() : value;
  }
  return fields;
}

function describeResult(result) {
  const parts = result.output.length ? [make("pre", {}, result.output.join("\n"))] : [packetTable(result.response)];
  if (result.until) parts.push(make("h3", {}, result.until.Event), packetTable(result.until));
  for (const [event, items] of groupByEvent(result.events))
    parts.push(make("h3", {}, heading(event, items.length)), listTable(items));
  return parts;
}

const heading = (event, count) => `${event}: ${count}${count > MAX_ITEMS ? `, the first ${MAX_ITEMS} are shown` : ""}`;

/** The items of a list by event name, in the order of their first ones. */
function groupByEvent(items) {
  const groups = new Map();
  for (const item of items) {
    if (!groups.has(item.Event)) groups.set(item.Event, []);
    groups.get(item.Event).push(item);
  }
  return groups;
}

function packetTable(headers) {
  const row = (name, value) => make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, String(value)));
  const rows = Object.entries(headers).flatMap(([name, value]) => [value].flat().map((one) => row(name, one)));
  return make("table", { className: "plain" }, make("tbody", {}, ...rows));
}

/** Items as a table with a column for each header. */
function listTable(items) {
  const names = [...new Set(items.flatMap(Object.keys))].filter((name) => name !== "ActionID" && name !== "Event");
  const head = make("tr", {}, ...names.map((name) => make("th", { scope: "col" }, name)));
  const rows = items
    .slice(0, MAX_ITEMS)
    .map((item) => make("tr", {}, ...names.map((name) => make("td", {}, [item[name] ?? ""].flat().join(", ")))));
  return make(
    "div",
    { className: "wide-table" },
    make("table", { className: "plain" }, make("thead", {}, head), make("tbody", {}, ...rows)),
  );
}
