// The page: who is logged in, what is followed, and when it is drawn. Everything is drawn four times a second at most, however many
// events come.

import { action, call, follow, logIn, logOut, session } from "./api.js";
import { Calls } from "./calls.js";
import { Console } from "./console.js";
import { $, keyed, make, setText } from "./dom.js";
import { Events } from "./events.js";
import { Health } from "./health.js";
import { Pbx } from "./pbx.js";
import { Queues } from "./queues.js";

const DRAW_MS = 250;
const STATUS_MS = 3000;
const SETTLE_MS = 500; // behind a gap or a restart, until the PBX's state is loaded again; behind a call of a queue, until it is counted
const REFUSED_MS = 10000; // until a PBX that refused is asked again: it may still have been loading its modules

const pbxs = new Map(); // by server
const loading = new Map(); // server -> the events that came while its state is loaded
const again = new Map(); // server -> the timer of the next load
const counting = new Map(); // server -> the timer of the next look at the counters of its queues
const views = { calls: new Calls(pbxs), queues: new Queues(pbxs), events: new Events(showDetails), console: new Console(), health: new Health() };
let servers = [];
let shown = "calls";

// ── the state of each PBX: asked for, and then followed ──

/** Load the state of a server. Events that come meanwhile are kept and applied behind it: they change nothing twice. */
async function load(server) {
  clearTimeout(again.get(server));
  again.delete(server);
  if (!servers.some(({ name }) => name === server)) return; // not configured any more
  if (loading.has(server)) return loadLater(server);
  loading.set(server, []);
  try {
    const channels = await listed(server, "CoreShowChannels");
    const queues = await listed(server, "QueueStatus");
    const pbx = pbxs.get(server) ?? new Pbx(server);
    pbx.load(channels.events, queues.events, Date.now() / 1000);
    pbx.refusals = { calls: channels.refusal, queues: queues.refusal };
    for (const event of loading.get(server)) pbx.apply(event);
    pbxs.set(server, pbx);
    if (channels.passing || queues.passing) loadLater(server, REFUSED_MS);
    countLater(server);
  } catch (error) {
    failed(error);
    loadLater(server, 2000);
  } finally {
    loading.delete(server);
  }
}

/**
 * The packets of a list; none, and the reason, when this token may not have it or this PBX refuses it. A right changes with the
 * gateway; what the PBX refuses may be over in a moment.
 */
async function listed(server, name) {
  try {
    return { events: (await action(server, name)).events, refusal: "", passing: false };
  } catch (error) {
    if (!["denied", "action_failed"].includes(error.kind)) throw error;
    return { events: [], refusal: error.message, passing: error.kind === "action_failed" };
  }
}

function loadLater(server, milliseconds = SETTLE_MS) {
  if (!again.has(server)) again.set(server, setTimeout(() => load(server), milliseconds));
}

/** Ask for Asterisk's own counters of the queues in which a call ended: not every AgentComplete counts, and a snapshot may have it. */
async function count(server) {
  counting.delete(server);
  const pbx = pbxs.get(server);
  const uncounted = [...(pbx?.uncounted ?? [])];
  if (!uncounted.length || loading.has(server)) return; // behind the load it is asked for again
  pbx.uncounted.clear();
  try {
    pbx.count((await action(server, "QueueStatus", uncounted.length === 1 ? { Queue: uncounted[0] } : {})).events);
  } catch (error) {
    failed(error);
    if (error.kind !== "denied") loadLater(server, REFUSED_MS);
  }
}

function countLater(server) {
  if (pbxs.get(server)?.uncounted.size && !counting.has(server)) counting.set(server, setTimeout(() => count(server), SETTLE_MS));
}

const handlers = {
  open() {
    link("", "live");
    for (const { name } of servers) loadLater(name, 0);
    refresh();
  },
  event(event) {
    const kept = loading.get(event.server);
    if (kept) kept.push(event);
    else pbxs.get(event.server)?.apply(event);
    countLater(event.server);
    views.events.take(event);
    if (event.event.startsWith("amid:")) {
      views.health.happened(event.time, event.server, `${event.event.slice(5)}${event.fields.Reason ? `: ${event.fields.Reason}` : ""}`);
      refresh();
    }
    if (["amid:connected", "amid:booted", "FullyBooted"].includes(event.event)) loadLater(event.server);
  },
  gap(gap) {
    const what = gap.missed === null ? "its event session was replaced; events may be missing" : `${gap.missed} events are missing`;
    views.health.happened(Date.now() / 1000, gap.server, what);
    views.events.gap(gap, what);
    loadLater(gap.server);
  },
  down(why) {
    link(why, "down");
  },
  refused() {
    location.reload(); // the session has ended
  },
  leave() {
    location.reload(); // another tab has logged out
  },
};

function link(text, state) {
  setText($("link"), text);
  $("link").dataset.state = state;
}

// ── servers and processes ──

async function refresh() {
  try {
    const status = await call("status");
    const before = new Map(servers.map((server) => [server.name, server.state]));
    servers = status.servers;
    const names = servers.map((server) => server.name);
    for (const { name, state } of servers) {
      if (before.get(name) === state) continue;
      loadLater(name, 0); // what it refused in another state says nothing of this one
      views.console.forget(name);
    }
    for (const name of pbxs.keys()) if (!names.includes(name)) pbxs.delete(name);
    views.health.show(status);
    views.console.servers(names);
  } catch (error) {
    failed(error);
    servers = servers.map((server) => ({ ...server, state: "lost", detail: error.message }));
  }
  drawServers();
}

const SHAPES = { up: "●", connecting: "◌", booting: "◐", rejected: "▲", lost: "✕" }; // the state is told by shape as well as by colour

function drawServers() {
  keyed(
    $("servers"),
    servers,
    (server) => server.name,
    () => make("li", {}, make("span", { className: "shape", ariaHidden: "true" }), make("b"), make("span", { className: "state" })),
    (element, server) => {
      const [shape, name, state] = element.children;
      element.dataset.state = server.state;
      element.title = `${server.asterisk ? `Asterisk ${server.asterisk}` : ""} ${server.detail}`.trim();
      setText(shape, SHAPES[server.state] ?? "?");
      setText(name, server.name);
      const waiting = server.queued ? `, ${server.queued} calls wait` : "";
      setText(state, `${server.state}${waiting}`);
    },
  );
}

// ── drawing ──

function draw() {
  if (document.hidden) return;
  const now = Date.now() / 1000;
  const counts = { calls: views.calls.count(), queues: views.queues.count(), events: views.events.count(), health: views.health.count() };
  for (const [name, count] of Object.entries(counts)) setText($(`count-${name}`), count);
  views[shown].draw(now);
}

function choose(name, focus) {
  shown = name;
  for (const tab of $("tabs").children) {
    const here = tab.id === `tab-${name}`;
    tab.setAttribute("aria-selected", here);
    tab.tabIndex = here ? 0 : -1;
    $(tab.getAttribute("aria-controls")).hidden = !here;
    if (here && focus) tab.focus();
  }
  if (location.hash.slice(1) !== name) history.replaceState(null, "", `#${name}`);
  draw();
}

$("tabs").addEventListener("click", (click) => {
  const tab = click.target.closest("[role=tab]");
  if (tab) choose(tab.id.slice(4));
});
$("tabs").addEventListener("keydown", (key) => {
  const names = Object.keys(views);
  const step = { ArrowRight: 1, ArrowLeft: -1 }[key.key];
  if (step) choose(names[(names.indexOf(shown) + step + names.length) % names.length], true);
});

function showDetails(title, fields) {
  setText($("details-title"), title);
  $("details-fields").replaceChildren(
    ...Object.entries(fields).flatMap(([name, value]) => [value].flat().map((one) => make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, String(one))))),
  );
  $("details").showModal();
}
$("details-close").addEventListener("click", () => $("details").close());
$("details").addEventListener("click", (click) => click.target === $("details") && $("details").close());

// ── light and dark ──

const theme = (name) => (document.documentElement.dataset.theme = name);
if (localStorage.theme) theme(localStorage.theme);
$("theme").addEventListener("click", () => {
  const dark = localStorage.theme ? localStorage.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  theme((localStorage.theme = dark ? "light" : "dark"));
});

// ── in and out ──

/** Show what this token may see. There is one way out: the page begins anew, so that nothing of it is left to the next one. */
function enter() {
  $("login").hidden = true;
  $("app").hidden = $("logout").hidden = false;
  follow(handlers);
  setInterval(draw, DRAW_MS);
  setInterval(refresh, STATUS_MS);
  const wanted = location.hash.slice(1);
  choose(wanted in views ? wanted : "calls");
}

/** The token is not valid any more. */
function failed(error) {
  if (error.status === 401) location.reload();
}

$("login").addEventListener("submit", async (submit) => {
  submit.preventDefault();
  setText($("login-error"), "");
  try {
    await logIn($("token").value.trim());
    $("token").value = "";
    enter();
  } catch (error) {
    setText($("login-error"), error.message);
  }
});
$("logout").addEventListener("click", async () => {
  try {
    await logOut();
    location.reload();
  } catch (error) {
    link(`Not logged out: ${error.message}.`, "down");
  }
});
document.addEventListener("visibilitychange", draw);

// `amid demo` prints an address with a token behind the #, which a browser sends to nobody.
const given = /^#token=(.+)$/.exec(location.hash)?.[1];
if (given) {
  history.replaceState(null, "", "#calls");
  await logIn(given).catch((error) => setText($("login-error"), error.message));
}
if ((await session().catch(() => null)) !== null) {
  enter();
} else {
  $("login").hidden = false;
  $("token").focus();
}
