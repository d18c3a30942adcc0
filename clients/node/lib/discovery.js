/** Where the daemon is on this machine. */

import { accessSync, constants, statSync } from "node:fs";

import { unreachable } from "./error.js";

/** The endpoint of the daemon's socket for requests. A directory that was named is the only one: another could be another PBX's. */
export function findEndpoint(runDir) {
  const { AMID_RUN_DIR, XDG_RUNTIME_DIR } = process.env;
  const named = runDir ?? (AMID_RUN_DIR || undefined);
  const usual = ["/run/amid", ...(XDG_RUNTIME_DIR ? [`${XDG_RUNTIME_DIR}/amid`] : [])];
  const looked = (named === undefined ? usual : [named]).map((path) => ({ path, fault: faultOf(`${path}/rpc`) }));
  const place = looked.find(({ fault }) => !fault);
  if (place) return `ipc://${place.path}/rpc`;
  throw unreachable(`no amid daemon found (${looked.map(({ path, fault }) => `${path}: ${fault}`).join("; ")})`);
}

/** Why nobody can connect there, or "". Connecting to a socket takes the permission to write it. */
function faultOf(path) {
  try {
    if (!statSync(path).isSocket()) return "no socket";
    accessSync(path, constants.W_OK);
    return "";
  } catch (error) {
    return error.code === "EACCES" ? "this user may not use it" : "no socket";
  }
}
