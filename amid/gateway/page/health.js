// The view of amid itself: its processes, and gaps, restarts and lost sessions since the page was
// opened.

import { now } from "./api.js";
import { $, clock, duration, make, reconcile, setText } from "./dom.js";

const MAX_ENTRIES = 200;

export class HealthView {
  constructor() {
    this.log = [];
    this.restarts = new Map(); // process -> its restarts in the last status
    this.processes = [];
    this.entries = 0;
  }

  /** Show a result of the method `status`. */
  load({ processes }) {
    this.processes = processes;
    for (const { name, restarts, last_exit } of processes) {
      const before = this.restarts.get(name);
      if (before !== undefined && restarts > before)
        this.add(now(), "amid", `${name} was replaced (${last_exit || "on request"})`);
      this.restarts.set(name, restarts);
    }
  }

  /** Add a line to the log. */
  add(time, server, text) {
    this.log.unshift({ key: (this.entries += 1), time, server, text });
    this.log.length = Math.min(this.log.length, MAX_ENTRIES);
  }

  count() {
    return this.log.length ? String(this.log.length) : "";
  }

  draw() {
    reconcile($("processes"), this.processes, (process) => process.name, createRow, updateRow);
    $("log-empty").hidden = this.log.length > 0;
    reconcile($("log"), this.log, (entry) => entry.key, createEntry);
  }
}

const createRow = () => make("tr", {}, ...Array.from({ length: 5 }, () => make("td")));

function updateRow(row, process) {
  const uptime = process.pid ? duration(process.uptime) : "starting";
  const cells = [process.name, process.pid || "–", uptime, process.restarts, process.problem || process.last_exit];
  cells.forEach((text, place) => setText(row.children[place], String(text)));
}

const createEntry = (entry) => make("li", {}, make("time", {}, clock(entry.time)), make("b", {}, entry.server), entry.text);
