// The ladder of a call, drawn: a row for each step, and a track for each party, with a filled dot
// for the party that acts. Numbers in the dots and the text of each step say everything, so the
// drawing needs no colours, and fits a phone and a sheet of paper.

import { clock, make } from "./dom.js";

const MAX_TRACKS = 8; // further parties are in the text only
const PBX = "the PBX"; // the daemon's name for no party

/** Kinds of steps in which the last party acts; in all others, the first one. */
const LAST_ACTS = new Set(["answer", "busy", "no_answer", "stop", "unreachable", "rejected", "forward"]);
const TONES = {
  ...{ answer: "good", agent_answer: "good", talk: "good", pickup: "good", unpark: "good" },
  ...{ busy: "bad", no_answer: "bad", unreachable: "bad", rejected: "bad", abandon: "bad", agent_no_answer: "bad" },
  ...{ transfer_failed: "bad", park_give_up: "bad", gap: "bad", late: "bad", restart: "bad", left_out: "bad" },
};

/** The parties that have a track, in the order in which they appear. */
export function tracksOf(steps) {
  const labels = new Set(steps.flatMap((step) => step.parties ?? []).filter((label) => label !== PBX));
  return [...labels].slice(0, MAX_TRACKS);
}

/** The legend: the number of each track and its party. */
export function createLegend(tracks) {
  return tracks.map((label, track) =>
    make("li", {}, make("span", { className: "dot acts", ariaHidden: "true" }, String(track + 1)), label),
  );
}

/** The rows of a ladder. `open`: whether the call continues, so that the tracks do not end. */
export function createRows(steps, tracks, open) {
  const rows = steps.map((step) => (step.parties ?? []).map((label) => tracks.indexOf(label)).filter((track) => track >= 0));
  const spans = tracks.map((_, track) => {
    const last = open ? rows.length - 1 : rows.findLastIndex((row) => row.includes(track));
    return [rows.findIndex((row) => row.includes(track)), last];
  });
  return steps.map((step, place) =>
    createRow(
      step,
      rows[place],
      spans.map((span) => positionIn(span, place)),
    ),
  );
}

/** Where a row is in the span of a track: "start", "middle", "end", "alone", or "" outside. */
function positionIn([start, end], place) {
  if (place < start || place > end) return "";
  if (start === end) return "alone";
  return place === start ? "start" : place === end ? "end" : "middle";
}

function createRow(step, involved, positions) {
  const lanes = positions.map((position, track) => inColumn(make("span", { className: `lane ${position}` }), track + 1));
  const row = make("span", { className: "lanes", ariaHidden: "true" }, ...lanes);
  row.style.gridTemplateColumns = `repeat(${positions.length}, var(--lane))`;
  if (involved.length > 1) row.append(createLink(Math.min(...involved), Math.max(...involved)));
  const actor = LAST_ACTS.has(step.kind) ? involved.at(-1) : involved[0];
  for (const track of new Set(involved)) row.append(createDot(track, step.kind === "talk" || track === actor));
  const when = make(
    "span",
    { className: "when" },
    make("time", {}, clock(step.time)),
    make("span", { className: "after" }, `+${step.after.toFixed(1)} s`),
  );
  const item = make("li", {}, when, row, make("span", { className: "step" }, step.text));
  item.dataset.kind = step.kind;
  item.dataset.tone = TONES[step.kind] ?? "";
  return item;
}

function createLink(from, to) {
  return inColumn(make("span", { className: "link-line" }), `${from + 1} / ${to + 2}`);
}

function createDot(track, acts) {
  return inColumn(make("span", { className: `dot${acts ? " acts" : ""}` }, String(track + 1)), track + 1);
}

function inColumn(element, column) {
  element.style.gridColumn = String(column);
  return element;
}
