// The gateway, as the page uses it: log in, call, and follow events.

import { followStream } from "./stream.js";

/** An error with the members of amid's errors: `kind` and `sent`; `status` is HTTP's, 0 for none. What broke off may have been sent. */
export class CallError extends Error {
  constructor(message, status, data = {}) {
    super(message);
    this.status = status;
    this.sent = data.sent ?? (status === 0 || status >= 500);
    this.kind = data.kind ?? (this.sent ? "connection_lost" : "refused");
    this.response = data.response;
  }
}

let calls = new AbortController();

// The page may be beneath a path of a proxy: every address is relative to this file's.
const ROOT = new URL("..", import.meta.url);
const at = (path) => new URL(path, ROOT);

// The half of the session that the page sends itself. The browser has the other one in a cookie, which it sends to every port of this host.
const HALF = `amid session ${ROOT.pathname}`;
const CHANNEL = `amid events ${ROOT.pathname}`;
const half = () => localStorage.getItem(HALF) ?? "";

/** Exchange the token for a session: one half in a cookie that no script can read, the other one kept here. */
export async function logIn(token) {
  const answer = await post("login", token);
  const body = await answer.json();
  if (!answer.ok) throw new CallError(body.error, answer.status);
  localStorage.setItem(HALF, body.session);
}

/** Who is logged in: a name, or null. */
export async function session() {
  try {
    return (await (await fetch(at("session"), { headers: { "Amid-Session": half() }, credentials: "same-origin" })).json()).name;
  } catch {
    throw new CallError("the gateway does not answer", 0);
  }
}

/** End the session, in all tabs. Calls under way end first, and no other begins: behind it they would be refused. */
export async function logOut() {
  calls.abort();
  try {
    await post("logout", "");
    localStorage.removeItem(HALF);
    new BroadcastChannel(CHANNEL).postMessage(["leave"]);
  } catch (error) {
    calls = new AbortController();
    throw error;
  }
}

/**
 * Call a method; `params` as in the contract. It goes as a batch of one, whose HTTP status is 200 whatever becomes of the call: that
 * Asterisk refuses an action is no failure of the page, which a browser would note in its console.
 */
export async function call(method, params = {}) {
  const answer = await post("rpc", JSON.stringify([{ jsonrpc: "2.0", id: 1, method, params }]), calls.signal);
  const body = await answer.json().catch(() => ({ error: `HTTP status ${answer.status}` }));
  const reply = Array.isArray(body) ? body[0] : body;
  if ("result" in reply) return reply.result;
  const { error } = reply;
  throw typeof error === "string" ? new CallError(error, answer.status) : new CallError(error.message, answer.status, error.data);
}

/** An action on a server; the result's packets. */
export const action = (server, name, fields = {}, more = {}) => call("action", { server, action: name, fields, ...more });

async function post(path, body, signal) {
  const headers = { "Content-Type": "application/json", "Amid-Session": half() };
  try {
    return await fetch(at(path), { method: "POST", body, signal, headers, credentials: "same-origin" });
  } catch {
    throw new CallError("the gateway does not answer", 0);
  }
}

/** Follow the events of all servers: `on` has the functions open, event, gap, down and refused. All tabs share one stream. */
export function follow(on) {
  const told = ([name, value]) => on[name]?.(value);
  const wanted = { channel: CHANNEL, url: at("v1/events").href, session: half() };
  new BroadcastChannel(CHANNEL).onmessage = ({ data }) => told(data);
  const alone = () => followStream(wanted.url, wanted.session, new AbortController().signal, (...what) => told(what));
  if (!globalThis.SharedWorker) return alone(); // Chrome on Android
  const worker = new SharedWorker(new URL("worker.js", import.meta.url), { type: "module", name: wanted.session });
  worker.onerror = alone; // it could not be loaded
  worker.port.onmessage = ({ data }) => told(data);
  worker.port.postMessage(wanted);
}
