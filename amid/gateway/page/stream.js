// The event stream: Server-Sent Events read with fetch, which sends the page's half of the session as a header. Runs in the worker
// that the tabs share, or in a tab.

const SILENT_MS = 15000; // the gateway sends something every 5 seconds
const RETRY_MS = 1000;

/**
 * Follow the events of all servers until `signal` aborts. It connects again by itself and says where it was, so nothing is lost in
 * between. `tell(name, value)` is called with open, event, gap, down (why) and refused (the session has ended).
 */
export async function followStream(url, session, signal, tell) {
  let last = "";
  while (!signal.aborted) {
    try {
      for await (const { id, type, data } of messages(url, { "Amid-Session": session, ...(last && { "Last-Event-ID": last }) }, signal, tell)) {
        last = id;
        if (data) tell(type === "gap" ? "gap" : "event", JSON.parse(data));
      }
      tell("down", "The connection is lost; trying again…");
    } catch (error) {
      if (error instanceof Refused && error.status === 401) return tell("refused");
      if (!signal.aborted) tell("down", error instanceof Refused ? `No events: ${error.message}; trying again…` : "The connection is lost; trying again…");
    }
    await new Promise((done) => setTimeout(done, RETRY_MS * (1 + Math.random()))); // not all browsers at once
  }
}

class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** The messages of one connection (WHATWG HTML, section 9.2.6); the gateway ends every line with a line feed alone. */
async function* messages(url, headers, signal, tell) {
  const silence = new AbortController();
  const watch = () => setTimeout(() => silence.abort(), SILENT_MS);
  let timer = watch();
  const end = () => silence.abort();
  signal.addEventListener("abort", end);
  try {
    const answer = await fetch(url, { headers, signal: silence.signal, credentials: "same-origin", cache: "no-store" });
    if (!answer.ok) throw await refusal(answer);
    tell("open");
    let rest = "";
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
      clearTimeout(timer);
      timer = watch();
      const blocks = (rest + piece.value).split("\n\n");
      rest = blocks.pop();
      yield* blocks.map(message);
    }
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", end);
    silence.abort(); // whoever reads no further has no connection
  }
}

async function refusal(answer) {
  const { message, error } = await answer.json().catch(() => ({}));
  return new Refused(message ?? error ?? `HTTP status ${answer.status}`, answer.status);
}

function message(block) {
  const fields = Object.fromEntries(block.split("\n").map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trimStart()]));
  return { id: fields.id, type: fields.event, data: fields.data };
}
