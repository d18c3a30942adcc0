/**
 * A client of amid, the daemon that gives every program RPC and events of an Asterisk PBX.
 *
 *     const client = new Client();
 *     await client.action("QueueAdd", { Queue: "support", Interface: "PJSIP/100" });
 *     for await (const item of client.events(["Hangup"])) console.log(item);
 *
 * What goes over the sockets is in clients/README.md; the types are in amid.d.ts; `Client` is where to begin.
 */

export { Client } from "./lib/client.js";
export { AmidError } from "./lib/error.js";
export { Gap, Gaps } from "./lib/gaps.js";
export { bytesOf, textOf } from "./lib/text.js";
