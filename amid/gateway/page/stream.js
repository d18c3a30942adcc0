// The two streams, of events and of the state: Server-Sent Events read with fetch, because
// EventSource cannot send the page's half of the session as a header. They run in the worker that
// the tabs share, or in a tab.

import { KINDS } from "./state.js";

const TIMEOUT_MS = 15000; // the gateway sends something every 5 seconds
const RETRY_MS = 1000;

/**
 * Follow the events of all servers and, if `state` is true, their state, until `signal` aborts.
 * `report(name, value)` is called
 * - for the events: open, event, gap, down (reason), ended (the session has ended);
 * - for the state: stateOpen, state, change, away, noState (reason; there will be none).
 */
export function followAll({ root, session, state }, signal, report) {
  followStream(new URL("v1/events", root).href, session, signal, report);
  if (!state) return;
  const kinds = Object.values(KINDS)
    .map((kind) => `kinds=${kind}`)
    .join("&");
  followStream(new URL(`v1/state?server=*&${kinds}`, root).href, session, signal, (name, value) => {
    if (name === "open") report("stateOpen");
    else if (name === "denied") report("noState", value);
    else if (!["down", "ended"].includes(name)) report(name, value); // the stream of events reports these
  });
}

/**
 * Follow a stream until `signal` aborts. It reconnects with the id of the last message, so nothing
 * is lost in between. `report(name, value)` is called with open, each message (`event` if it has no
 * type), down (reason), denied (reason; it is not retried) and ended (the session has ended).
 */
async function followStream(url, session, signal, report) {
  let last = "";
  while (!signal.aborted) {
    try {
      const headers = { "Amid-Session": session, ...(last && { "Last-Event-ID": last }) };
      for await (const { id, type, data } of messages(url, headers, signal, report)) {
        last = id ?? last;
        if (data) report(type ?? "event", JSON.parse(data));
      }
      report("down", "Connection lost, reconnecting…");
    } catch (error) {
      const refused = error instanceof Refused;
      if (refused && error.status === 401) return report("ended");
      if (refused && error.status === 403) return report("denied", error.message);
      if (!signal.aborted) report("down", refused ? `No events: ${error.message}; retrying…` : "Connection lost, reconnecting…");
    }
    await new Promise((done) => setTimeout(done, RETRY_MS * (1 + Math.random()))); // not all browsers at once
  }
}

/** An error response of the gateway; `status` is its HTTP status. */
class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** The messages of one connection (WHATWG HTML, section 9.2.6). The gateway ends lines with LF only. */
async function* messages(url, headers, signal, report) {
  const connection = new AbortController();
  const close = () => connection.abort();
  const startTimer = () => setTimeout(close, TIMEOUT_MS);
  let timer = startTimer();
  signal.addEventListener("abort", close);
  try {
    const answer = await fetch(url, { headers, signal: connection.signal, credentials: "same-origin", cache: "no-store" });
    if (!answer.ok) throw await refusal(answer);
    report("open");
    let rest = "";
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
      clearTimeout(timer);
      timer = startTimer();
      const blocks = (rest + piece.value).split("\n\n");
      rest = blocks.pop();
      yield* blocks.map(parseMessage);
    }
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", close);
    close(); // also when the caller stops reading
  }
}

async function refusal(answer) {
  const { message, error } = await answer.json().catch(() => ({}));
  return new Refused(message ?? error ?? `HTTP status ${answer.status}`, answer.status);
}

function parseMessage(block) {
  const lines = block.split("\n").map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trimStart()]);
  const fields = Object.fromEntries(lines);
  return { id: fields.id, type: fields.event, data: fields.data };
}
