/** The harness of this client; clients/CONFORMANCE.md says what it does. */

import { createInterface } from "node:readline";

import { AmidError, Client, Gap } from "./amid.js";
import { bytesOf, isOdd, pack, textOf, unpack } from "./lib/wire.js";

const BIN = "$bin";

const client = new Client({ runDir: process.argv[2] });

/** What answers each `do`: a line, or several of them. */
const DO = {
  decode: ({ hex }) => ({ value: unpack(Buffer.from(hex, "hex")) }),
  encode: ({ value }) => ({ hex: Buffer.from(pack(value)).toString("hex") }),

  async call({ method, params }) {
    try {
      return { result: await result(method, params) };
    } catch (error) {
      return { error: failure(error) };
    }
  },

  async calls({ count, at_once }) {
    const numbers = Array.from({ length: count }, (_, number) => number).values();
    const right = await Promise.all(Array.from({ length: at_once }, () => pings(numbers)));
    const sum = right.reduce((one, other) => one + other, 0);
    return { right: sum, wrong: count - sum, at_once };
  },

  async *events({ names, server, count, timeout }) {
    const events = await client.events(names ?? [], { server, timeout }).open();
    yield { listening: true };
    yield* items(events, count);
    yield { end: true, missed: events.missed };
    events.close();
  },

  async *changes({ kinds, server, resets, timeout }) {
    const changes = client.changes(kinds, { server, timeout });
    try {
      while (resets > 0) {
        const { value: change } = await changes.next();
        if (change.kind === "reset") resets -= 1;
        yield { change };
      }
      yield { end: true };
    } catch (error) {
      yield { error: failure(error) };
    }
    changes.close();
  },
};

/** The methods that have a function of their own. */
const METHODS = {
  action: ({ action, fields, ...options }) => client.action(action, fields, options),
  servers: (options) => client.servers(options),
  status: (options) => client.status(options),
  actions: (options) => client.actions(options),
  events: (options) => client.pull(options),
  state: (options) => client.state(options),
  audit: (options) => client.audit(options),
  restart: ({ server, ...options }) => client.restart(server, options),
  ping: (options) => client.ping(options),
};

function result(method, params) {
  return Object.hasOwn(METHODS, method) ? METHODS[method](params) : client.call(method, params);
}

function failure(error) {
  if (!(error instanceof AmidError)) throw error;
  const { kind, sent, message, server, actionId: action_id, response } = error;
  return { kind, sent, message, server, action_id, response };
}

/** Makes pings as long as there are numbers; how many got their own answer. */
async function pings(numbers) {
  let right = 0;
  for (const number of numbers) {
    const { response } = await client.action("Ping", { ActionID: `own-${number}` }, { server: "pbx1" });
    if (response.ActionID === `own-${number}`) right += 1;
  }
  return right;
}

async function* items(events, count) {
  while (count > 0) {
    const item = await events.next().then(({ value }) => value, nothingCame);
    if (!item) return;
    if (item instanceof Gap) yield { gap: item };
    else yield { event: item };
    if (!(item instanceof Gap)) count -= 1;
  }
}

function nothingCame(error) {
  if (!(error instanceof AmidError)) throw error;
}

/** A value as a line has it. */
function shown(value) {
  if (value instanceof Uint8Array) return { [BIN]: Buffer.from(value).toString("hex") };
  if (Array.isArray(value)) return value.map(shown);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [shownKey(key), shown(one)]));
}

function shownKey(key) {
  return isOdd(key) ? `${BIN}:${bytesOf(key).toString("hex")}` : key;
}

/** The value that a line means. */
function meant(value) {
  if (Array.isArray(value)) return value.map(meant);
  if (value === null || typeof value !== "object") return value;
  if (BIN in value) return Buffer.from(value[BIN], "hex");
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [meantKey(key), meant(one)]));
}

function meantKey(key) {
  return key.startsWith(`${BIN}:`) ? textOf(Buffer.from(key.slice(BIN.length + 1), "hex")) : key;
}

async function* answers(asked) {
  const answer = DO[asked.do](asked);
  if (Symbol.asyncIterator in answer) yield* answer;
  else yield await answer;
}

for await (const line of createInterface({ input: process.stdin })) {
  for await (const answer of answers(meant(JSON.parse(line)))) {
    process.stdout.write(`${JSON.stringify(shown(answer))}\n`);
  }
}
client.close();
