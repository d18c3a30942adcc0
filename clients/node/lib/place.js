/** Where the daemon is on this machine. */

import { accessSync, constants, statSync } from "node:fs";

import { AmidError } from "./error.js";

const SOCKET = "a socket";

/**
 * The endpoint of a daemon's socket for requests. Throws `unreachable` when no directory holds one.
 *
 * @param {string} [runDir] the only place to look in, for another could be another PBX's
 */
export function find(runDir) {
  const looked = runDirs(runDir).map((path) => ({ path, found: whatIsAt(`${path}/rpc`) }));
  const place = looked.find(({ found }) => found === SOCKET);
  if (place) return `ipc://${place.path}/rpc`;
  const paths = looked.map(({ path, found }) => `${path}: ${found}`).join("; ");
  throw unreachable(`no amid daemon found (${paths})`);
}

/** @param {string} what */
export function unreachable(what) {
  return new AmidError("unreachable", `${what}: start one with \`amid run\`, or name its directory with runDir or AMID_RUN_DIR`);
}

/**
 * One that was named, here or in AMID_RUN_DIR, is the only one.
 *
 * @param {string} [runDir]
 */
function runDirs(runDir) {
  if (runDir !== undefined) return [runDir];
  const { AMID_RUN_DIR, XDG_RUNTIME_DIR } = process.env;
  if (AMID_RUN_DIR) return [AMID_RUN_DIR];
  return ["/run/amid", ...(XDG_RUNTIME_DIR ? [`${XDG_RUNTIME_DIR}/amid`] : [])];
}

/**
 * What is there, in words. Connecting to a socket takes the permission to write it.
 *
 * @param {string} path
 */
function whatIsAt(path) {
  try {
    if (!statSync(path).isSocket()) return "no socket";
    accessSync(path, constants.W_OK);
    return SOCKET;
  } catch (error) {
    return /** @type {NodeJS.ErrnoException} */ (error).code === "EACCES" ? "this user may not use it" : "no socket";
  }
}
