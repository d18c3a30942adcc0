// Prints the events of a PBX, then the answer to a call. Needs Node.js 20 and
// npm install @nats-io/transport-node @nats-io/jetstream
//
// node consumer.mjs nats://127.0.0.1:4222 pbx1 [COUNT]
import { connect, headers } from "@nats-io/transport-node";
import { AckPolicy, jetstream, jetstreamManager } from "@nats-io/jetstream";

const [url, server, limit] = process.argv.slice(2);
if (!server) {
  console.error("usage: node consumer.mjs URL SERVER [COUNT]");
  process.exit(1);
}
let count = Number(limit ?? -1);

// kind and sent: see clients/README.md. If sent is true, Asterisk may have executed the action: do
// not repeat it.
class CallFailed extends Error {
  constructor(kind, sent, message) {
    super(`${kind}, sent ${sent}: ${message}`);
    Object.assign(this, { kind, sent });
  }
}

async function call(nc, server, action, fields, timeout = 5) {
  const request = { id: 1, method: "action", params: { action, fields, timeout } };
  const expires = headers();
  expires.set("Amid-Expires", String(Date.now() + timeout * 1000));
  if (nc.isClosed()) throw new CallFailed("unreachable", false, "no connection to NATS");
  let answer;
  try {
    const options = { timeout: (timeout + 2) * 1000, headers: expires };
    answer = await nc.request(`amid.rpc.${server}.action.${action}`, JSON.stringify(request), options);
  } catch (error) {
    if (error.name === "NoRespondersError" || error.cause?.name === "NoRespondersError")
      throw new CallFailed("not_connected", false, `no amid serves ${server} now`);
    throw new CallFailed("timeout", true, error.message);
  }
  const reply = answer.json();
  if (reply.error) throw new CallFailed(reply.error.data.kind, reply.error.data.sent, reply.error.message);
  return reply.result;
}

const nc = await connect({ servers: url, maxReconnectAttempts: -1 });
const manager = await jetstreamManager(nc);
await manager.consumers.add(`AMID_${server}`, { durable_name: "example-node", ack_policy: AckPolicy.Explicit });
const consumer = await jetstream(nc).consumers.get(`AMID_${server}`, "example-node");
for await (const message of await consumer.consume()) {
  const event = message.json();
  console.log(event.epoch, event.seq, event.event); // handle it, then acknowledge it
  message.ack();
  if (--count === 0) break;
}
const result = await call(nc, server, "Ping", {});
console.log(result.response.Ping);
await nc.close();
