// The page: log-in, the views and what they follow. Views are drawn at most four times a second,
// however many events arrive.

import { Actions } from "./actions.js";
import { call, follow, forgetOffered, get, logIn, logOut, now, session, wasLoggedIn } from "./api.js";
import { CallsView } from "./calls.js";
import { ConsoleView } from "./console.js";
import { $, make, reconcile, setText } from "./dom.js";
import { EventsView } from "./events.js";
import { HealthView } from "./health.js";
import { HistoryView } from "./history.js";
import { QueuesView } from "./queues.js";
import { Sparklines } from "./sparklines.js";
import { PbxStates } from "./state.js";

const DRAW_MS = 250;
const STATUS_MS = 3000;
const SAMPLES_MS = 15000;
const FIRST_SAMPLE_MS = 1000;

const states = new PbxStates();
let servers = [];
let recorderRuns = false;
let noState = ""; // why this token gets no state
let shown = "calls";
const actions = new Actions(() => servers.map(({ name }) => name));
const recorded = new HistoryView(() => choose("history"));
const views = {
  calls: new CallsView(states, actions, recorded),
  queues: new QueuesView(states, actions),
  history: recorded,
  events: new EventsView(showDetails),
  console: new ConsoleView(),
  health: new HealthView(),
};
const sparklines = new Sparklines();

const handlers = {
  open() {
    setConnection("", "live");
    loadRights();
    refresh();
  },
  event(event) {
    views.events.addEvent(event);
    if (!event.event.startsWith("amid:")) return;
    views.health.add(event.time, event.server, `${event.event.slice(5)}${event.fields.Reason ? `: ${event.fields.Reason}` : ""}`);
    refresh();
  },
  gap(gap) {
    const text = gap.missed === null ? "the event session was replaced; events may be missing" : `${gap.missed} events are missing`;
    views.health.add(now(), gap.server, text);
    views.events.addGap(gap, text);
  },
  state: (state) => states.apply("state", state),
  change: (change) => states.apply("change", change),
  away: (away) => states.apply("away", away),
  noState(reason) {
    noState = reason;
  },
  down(reason) {
    setConnection(reason, "down");
  },
  ended: () => location.reload(),
  session: () => location.reload(), // another tab has logged in or out
};

function setConnection(text, state) {
  setText($("link"), text);
  $("link").dataset.state = state;
}

/** Request what this token may do. Returns whether it may see the state. */
async function loadRights() {
  try {
    const { state } = await actions.loadRights();
    updateHistoryTab();
    return state;
  } catch (error) {
    reloadAtEndOfSession(error);
    return true; // the stream of the state reports it otherwise
  }
}

// ── servers and processes ──

async function refresh() {
  try {
    const status = await call("status");
    const before = new Map(servers.map((server) => [server.name, server.state]));
    servers = status.servers;
    const names = servers.map((server) => server.name);
    for (const { name, state } of servers) if (before.get(name) !== state) forgetActions(name, state);
    for (const name of states.keys()) if (!names.includes(name)) states.delete(name);
    views.health.load(status);
    views.console.setServers(names);
    recorded.setServers(names);
    recorderRuns = status.processes.some(({ name }) => name === "recorder");
    updateHistoryTab();
  } catch (error) {
    reloadAtEndOfSession(error);
    servers = servers.map((server) => ({ ...server, state: "lost", detail: error.message }));
  }
  drawServers();
}

/** A server has changed its state: its Asterisk may offer other actions than before. */
function forgetActions(name, state) {
  forgetOffered(name);
  views.console.forget(name);
  if (state === "up") actions.loadOffers(name);
}

/** Show the tab of recorded calls if there are any for this token. */
function updateHistoryTab() {
  recorded.setAvailable(recorderRuns, actions.rights?.history);
  $("tab-history").hidden = !recorded.available;
  const isKnown = actions.rights && servers.length;
  if (!recorded.available && shown === "history" && isKnown) choose("calls");
}

const SHAPES = { up: "●", connecting: "◌", booting: "◐", rejected: "▲", lost: "✕" }; // shapes as well as colours

function drawServers() {
  const create = () =>
    make("li", {}, make("span", { className: "shape", ariaHidden: "true" }), make("b"), make("span", { className: "state" }));
  reconcile(
    $("servers"),
    servers,
    (server) => server.name,
    create,
    (element, server) => {
      const [shape, name, state] = element.children;
      const pbx = states.get(server.name);
      const inexact = pbx?.loaded && !pbx.exact ? `Its state is not exact: ${pbx.detail}` : "";
      element.dataset.state = server.state;
      element.title = [server.asterisk ? `Asterisk ${server.asterisk}` : "", server.detail, inexact].filter(Boolean).join("\n");
      setText(shape, SHAPES[server.state] ?? "?");
      setText(name, server.name);
      setText(state, `${server.state}${server.queued ? `, ${server.queued} calls queued` : ""}`);
    },
  );
}

// ── drawing ──

function draw() {
  if (document.hidden) return;
  for (const name of ["calls", "queues", "events", "health"]) setText($(`count-${name}`), views[name].count());
  views[shown].draw(now());
  if (shown === "calls")
    sparklines.update({ calls: views.calls.number(), waiting: views.queues.waiting(), events: views.events.perSecond() });
  drawNotice();
}

/** Say why the calls and queues that are shown are incomplete or old. */
function drawNotice() {
  const connected = new Map(servers.map(({ name, state }) => [name, state === "up"]));
  const reasons = [...states.values()]
    .filter((pbx) => connected.get(pbx.server) === false || pbx.away)
    .map((pbx) => {
      const reason = pbx.away || `server ${pbx.server} is not connected`;
      const named = reason.includes(`server ${pbx.server}`) ? reason : `${pbx.server}: ${reason}`;
      return `${named}${pbx.loaded ? "; its last known state is shown" : ""}.`;
    });
  const text = noState ? `Not shown: ${noState}.` : reasons.join(" ");
  setText($("notice"), text);
  $("notice").hidden = !text || !["calls", "queues"].includes(shown);
}

async function drawSparklines() {
  if (document.hidden || noState) return;
  try {
    const loaded = sparklines.load(await get("v1/samples"));
    if (!loaded) setTimeout(drawSparklines, FIRST_SAMPLE_MS); // the first request has started the sampling
  } catch (error) {
    reloadAtEndOfSession(error);
  }
}

function choose(name, focus) {
  shown = name;
  for (const tab of $("tabs").children) {
    const selected = tab.id === `tab-${name}`;
    tab.setAttribute("aria-selected", selected);
    tab.tabIndex = selected ? 0 : -1;
    $(tab.getAttribute("aria-controls")).hidden = !selected;
    if (selected && focus) tab.focus();
  }
  setAddress();
  draw();
}

/** Put the view, and a recorded call that is open in it, into the page's address. */
function setAddress() {
  const address = `#${shown}${shown === "history" ? recorded.path : ""}`;
  if (location.hash !== address) history.replaceState(null, "", address);
}

$("tabs").addEventListener("click", (click) => {
  const tab = click.target.closest("[role=tab]");
  if (tab) choose(tab.id.slice(4));
});
$("tabs").addEventListener("keydown", (key) => {
  const names = Object.keys(views).filter((name) => !$(`tab-${name}`).hidden);
  const step = { ArrowRight: 1, ArrowLeft: -1 }[key.key];
  if (step) choose(names[(names.indexOf(shown) + step + names.length) % names.length], true);
});

function showDetails(title, fields) {
  const row = (name, value) => make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, String(value)));
  setText($("details-title"), title);
  $("details-fields").replaceChildren(
    ...Object.entries(fields).flatMap(([name, value]) => [value].flat().map((one) => row(name, one))),
  );
  $("details").showModal();
}
$("details-close").addEventListener("click", () => $("details").close());
$("details").addEventListener("click", (click) => click.target === $("details") && $("details").close());

// ── light and dark ──

const setTheme = (name) => (document.documentElement.dataset.theme = name);
if (localStorage.theme) setTheme(localStorage.theme);
$("theme").addEventListener("click", () => {
  const dark = localStorage.theme ? localStorage.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  setTheme((localStorage.theme = dark ? "light" : "dark"));
});

// ── log-in and log-out ──

/** Start after a log-in. A log-out reloads the page, so that nothing is left for the next user. */
async function start() {
  $("login").hidden = true;
  $("app").hidden = $("logout").hidden = false;
  openAddress();
  setInterval(drawSparklines, SAMPLES_MS);
  setInterval(draw, DRAW_MS);
  setInterval(refresh, STATUS_MS);
  const seesState = await loadRights();
  if (!seesState) handlers.noState("this token may receive some events only, and the state contains what all of them report");
  follow(handlers, seesState);
  drawSparklines();
}

/** Show the view, or the recorded call, that the page's address names. The address of the skip link names none. */
function openAddress() {
  const [name, server, linkedid] = location.hash.slice(1).split("/");
  if (name === "history" && linkedid) recorded.open(decode(server), decode(linkedid));
  else choose(Object.hasOwn(views, name) ? name : shown);
}
window.addEventListener("hashchange", () => {
  if (!$("app").hidden) openAddress();
});

/** Decode a part of an address; text that is not encoded correctly is returned unchanged. */
function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** After a 401 the session has ended. */
function reloadAtEndOfSession(error) {
  if (error.status === 401) location.reload();
}

$("login").addEventListener("submit", async (submit) => {
  submit.preventDefault();
  setText($("login-error"), "");
  try {
    await logIn($("token").value.trim());
    $("token").value = "";
    start();
  } catch (error) {
    setText($("login-error"), error.message);
  }
});
$("logout").addEventListener("click", async () => {
  try {
    await logOut();
    location.reload();
  } catch (error) {
    setConnection(`Not logged out: ${error.message}.`, "down");
  }
});
document.addEventListener("visibilitychange", draw);

// `amid demo` prints a URL with a token behind the #, which browsers never send.
const given = /^#token=(.+)$/.exec(location.hash)?.[1];
if (given) {
  history.replaceState(null, "", "#calls");
  await logIn(given).catch((error) => setText($("login-error"), error.message));
}
if ((await session().catch(() => null)) !== null) {
  start();
} else {
  $("login").hidden = false;
  if (wasLoggedIn() && !$("login-error").textContent) setText($("login-error"), "The session has ended. Log in again.");
  $("token").focus();
}
