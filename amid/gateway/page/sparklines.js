// Sparklines of the last hour: calls, waiting callers and events per second, summed over all servers.

import { $, make, setText } from "./dom.js";

const WIDTH = 240;
const HEIGHT = 36;
const MIN_SAMPLES = 20; // the width is for this many samples at least
const SVG = "http://www.w3.org/2000/svg";

/** What is drawn: the field of a sample, its heading, and the format of a value. */
const LINES = [
  ["calls", "Calls", (value) => String(value)],
  ["waiting", "Waiting", (value) => String(value)],
  ["events", "Events/s", (value) => value.toFixed(0)],
];

export class Sparklines {
  constructor() {
    $("sparks").replaceChildren(...LINES.map(([field, heading]) => createTile(field, heading)));
    this.peaks = {}; // field -> highest sample, or null
    this.minutes = 0;
  }

  /** Draw the response of /v1/samples. Returns whether it has a sample. */
  load({ interval, servers }) {
    for (const [field] of LINES) {
      const values = sum(Object.values(servers).map((one) => one[field]));
      const known = values.filter((value) => value !== null);
      this.peaks[field] = known.length ? Math.max(...known) : null;
      this.minutes = Math.max(1, Math.round((values.length * interval) / 60));
      if (known.length) draw($(`spark-${field}`).lastChild, values);
    }
    return this.#isLoaded;
  }

  get #isLoaded() {
    return Object.values(this.peaks).some((peak) => peak !== null);
  }

  /** Show the current value of each field. */
  update(values) {
    const period = this.minutes < 60 ? `${this.minutes} min` : "1 h";
    for (const [field, heading, format] of LINES) {
      const [tile, peak] = [$(`spark-${field}`), this.peaks[field] ?? 0];
      const [text, picture] = tile.children;
      tile.hidden = !this.#isLoaded;
      const maximum = `max. ${format(Math.max(peak, values[field]))} in ${period}`;
      setText(text.children[1], format(values[field]));
      setText(text.children[2], maximum);
      const description = `${heading}, ${maximum}`;
      if (picture.getAttribute("aria-label") !== description) picture.setAttribute("aria-label", description);
    }
  }
}

function createTile(field, heading) {
  const picture = document.createElementNS(SVG, "svg");
  picture.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  picture.setAttribute("preserveAspectRatio", "none");
  picture.setAttribute("role", "img");
  for (const name of ["area", "line"]) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("class", name);
    picture.append(path);
  }
  const text = make("p", {}, make("span", { className: "heading" }, heading), make("b"), make("span", { className: "peak" }));
  return make("div", { className: "spark", id: `spark-${field}`, hidden: true }, text, picture);
}

/** The sums of the servers' samples, aligned at the newest. Null where no server has a value. */
function sum(lists) {
  const length = Math.max(0, ...lists.map((list) => list.length));
  return Array.from({ length }, (_, place) => {
    const values = lists.map((list) => list[place - length + list.length]).filter((value) => value !== null && value !== undefined);
    return values.length ? values.reduce((one, other) => one + other, 0) : null;
  });
}

function draw(picture, values) {
  const highest = Math.max(1, ...values);
  const step = WIDTH / (Math.max(values.length, MIN_SAMPLES) - 1);
  const x = (place) => WIDTH - (values.length - 1 - place) * step;
  const y = (value) => HEIGHT - 2 - (value / highest) * (HEIGHT - 6);
  const parts = runs(values).map((run) => run.map(([place, value]) => [x(place).toFixed(1), y(value).toFixed(1)]));
  const line = (points) => points.map((point) => point.join(" ")).join("L");
  picture.children[1].setAttribute("d", parts.map((points) => `M${line(points)}`).join(""));
  picture.children[0].setAttribute(
    "d",
    parts.map((points) => `M${points[0][0]} ${HEIGHT}L${line(points)}L${points.at(-1)[0]} ${HEIGHT}Z`).join(""),
  );
}

/** Runs of known values, as pairs of place and value. A single value becomes a short line. */
function runs(values) {
  const found = [[]];
  values.forEach((value, place) => (value === null ? found.push([]) : found.at(-1).push([place, value])));
  return found.filter((run) => run.length).map((run) => (run.length > 1 ? run : [[run[0][0] - 0.5, run[0][1]], run[0]]));
}
