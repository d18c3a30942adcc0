// The gateway as the page uses it: log in, call methods, and follow events.

import { followAll } from "./stream.js";

/**
 * An error with `kind` and `sent` of amid's errors. `status` is the HTTP status, 0 without a
 * response. A request that broke off may have been carried out, so `sent` is true.
 */
export class CallError extends Error {
  constructor(message, status, data = {}) {
    super(message);
    this.status = status;
    this.sent = data.sent ?? (status === 0 || status >= 500);
    this.kind = data.kind ?? (this.sent ? "connection_lost" : "refused");
    this.response = data.response;
  }

  /** Whether the action may have run, in words. */
  get outcome() {
    if (this.kind === "action_failed") return "it failed"; // Asterisk has answered
    return this.sent ? "it may have been carried out" : "it was not sent";
  }
}

const TOLERANCE_S = 5; // a Date has whole seconds, and a response takes a while

let calls = new AbortController();
let leaving; // the promise of the last log-out
let ahead = 0; // seconds by which the gateway's clock is ahead of the browser's

/** The Unix time in seconds by the gateway's clock, as all times of calls are. The browser's clock may be wrong. */
export const now = () => Date.now() / 1000 + ahead;

/** Compare the clocks by the Date of a response. */
function compareClocks(answer) {
  const difference = (Date.parse(answer.headers.get("Date")) - Date.now()) / 1000;
  if (Math.abs(difference - ahead) > TOLERANCE_S) ahead = difference;
}

// The page may be beneath a path of a proxy: every URL is relative to this file's.
const ROOT = new URL("..", import.meta.url);
const at = (path) => new URL(path, ROOT);

// The half of the session that the page sends as a header. The other half is in a cookie, which the
// browser sends to every port of this host.
const HALF = `amid session ${ROOT.pathname}`;
const CHANNEL = `amid events ${ROOT.pathname}`;
const half = () => localStorage.getItem(HALF) ?? "";

/** Whether this browser was logged in and has not logged out. */
export const wasLoggedIn = () => half() !== "";

/** Tell all tabs and workers that the session of this browser is another one, or none. */
const reportSession = () => new BroadcastChannel(CHANNEL).postMessage(["session"]);

/** Exchange the token for a session: one half in a cookie that no script can read, the other here. */
export async function logIn(token) {
  const answer = await post("login", token);
  const body = await answer.json();
  if (!answer.ok) throw new CallError(body.error, answer.status);
  localStorage.setItem(HALF, body.session);
  reportSession();
}

/** The name of the token that is logged in, or null. */
export async function session() {
  try {
    return (await (await fetch(at("session"), { headers: { "Amid-Session": half() }, credentials: "same-origin" })).json()).name;
  } catch {
    throw new CallError("the gateway does not answer", 0);
  }
}

/** End the session in all tabs. Open calls end first, because they would be refused afterwards. */
export async function logOut() {
  calls.abort();
  try {
    leaving = post("logout", "");
    await leaving;
    localStorage.removeItem(HALF);
    reportSession();
  } catch (error) {
    calls = new AbortController();
    throw error;
  }
}

/**
 * Call a method; `params` as in the contract. The request is a batch of one, whose HTTP status is
 * always 200: a refused action is not an error of the page, and the browser would log it as one.
 */
export async function call(method, params = {}) {
  const answer = await post("rpc", JSON.stringify([{ jsonrpc: "2.0", id: 1, method, params }]), calls.signal);
  compareClocks(answer);
  const body = await answer.json().catch(() => ({ error: `HTTP status ${answer.status}` }));
  const reply = Array.isArray(body) ? body[0] : body;
  if ("result" in reply) return reply.result;
  const { error } = reply;
  throw typeof error === "string" ? new CallError(error, answer.status) : new CallError(error.message, answer.status, error.data);
}

/** Run an action on a server. */
export const action = (server, name, fields = {}, more = {}) => call("action", { server, action: name, fields, ...more });

const offers = new Map(); // server -> promise of its actions by name

/** The actions that a server's Asterisk offers, by name in lower case. Requested once until `forgetOffered`. */
export function offered(server) {
  if (!offers.has(server)) {
    const request = call("actions", { server }).then((actions) => new Map(actions.map((one) => [one.name.toLowerCase(), one])));
    offers.set(server, request);
    request.catch(() => offers.delete(server)); // the PBX is not connected, or this token may not list actions
  }
  return offers.get(server);
}

/** Forget the actions of a server, which may offer others now. */
export const forgetOffered = (server) => offers.delete(server);

/** GET a path; returns its JSON. A browser aborts requests when the network changes, so it is retried once. */
export async function get(path) {
  const { signal } = calls;
  const request = () =>
    fetch(at(path), { headers: { "Amid-Session": half() }, signal, credentials: "same-origin" }).catch(() => null);
  const answer = (await request()) ?? (signal.aborted ? null : await request());
  if (!answer) throw new CallError("the gateway does not answer", 0);
  compareClocks(answer);
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new CallError(body.message ?? body.error ?? `HTTP status ${answer.status}`, answer.status, body.data);
  return body;
}

async function post(path, body, signal) {
  const headers = { "Content-Type": "application/json", "Amid-Session": half() };
  try {
    return await fetch(at(path), { method: "POST", body, signal, headers, credentials: "same-origin" });
  } catch {
    throw new CallError("the gateway does not answer", 0);
  }
}

/**
 * Follow the events of all servers, and their state if `state` is true. `handlers` has a function
 * for each message of `stream.js`. All tabs share two streams. Nothing is followed if the user has
 * logged out while the page was loading.
 */
export async function follow(handlers, state) {
  if (await leaving?.catch(() => null)) return;
  const dispatch = ([name, value]) => handlers[name]?.(value);
  const settings = { channel: CHANNEL, root: ROOT.href, session: half(), state };
  new BroadcastChannel(CHANNEL).onmessage = ({ data }) => dispatch(data);
  const followAlone = () => followAll(settings, new AbortController().signal, (...message) => dispatch(message));
  if (!globalThis.SharedWorker) return followAlone(); // Chrome on Android
  const worker = new SharedWorker(new URL("worker.js", import.meta.url), { type: "module", name: settings.session });
  worker.onerror = followAlone; // it could not be loaded
  worker.port.onmessage = ({ data }) => dispatch(data);
  worker.port.postMessage(settings);
}
