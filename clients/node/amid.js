/** A client of amid, the daemon that gives every program RPC and events of an Asterisk PBX. amid.d.ts describes it. */
export { Client } from "./lib/client.js";
export { AmidError } from "./lib/error.js";
export { Gap } from "./lib/events.js";
export { bytesOf, textOf } from "./lib/wire.js";
