// The view of amid itself: its processes, and what happened while the page was open: gaps, restarts, lost sessions.

import { $, clock, duration, keyed, make, setText } from "./dom.js";

const KEPT = 200;

export class Health {
  constructor() {
    this.log = [];
    this.restarts = new Map(); // process -> how often it was replaced when last seen
    this.processes = [];
    this.number = 0;
  }

  show({ processes }) {
    this.processes = processes;
    for (const { name, restarts, last_exit } of processes) {
      const before = this.restarts.get(name);
      if (before !== undefined && restarts > before) this.happened(Date.now() / 1000, "amid", `${name} was replaced (${last_exit || "asked for"})`);
      this.restarts.set(name, restarts);
    }
  }

  happened(time, server, what) {
    this.log.unshift({ key: (this.number += 1), time, server, what });
    this.log.length = Math.min(this.log.length, KEPT);
  }

  count() {
    return this.log.length ? String(this.log.length) : "";
  }

  draw() {
    keyed($("processes"), this.processes, (process) => process.name, () => make("tr", {}, ...Array.from({ length: 5 }, () => make("td"))), (row, process) => {
      const cells = [process.name, process.pid || "–", process.pid ? duration(process.uptime) : "starting", process.restarts, process.last_exit];
      cells.forEach((text, place) => setText(row.children[place], String(text)));
    });
    $("log-empty").hidden = this.log.length > 0;
    keyed($("log"), this.log, (entry) => entry.key, (entry) => make("li", {}, make("time", {}, clock(entry.time)), make("b", {}, entry.server), entry.what), () => {});
  }
}
