// The two streams, of events and of the state, for all tabs of a browser. A browser opens six
// connections to a host: with streams in each tab, the fourth tab would stay blank. A shared worker
// lives as long as any of its tabs, so no tab has to lead the others.
//
// Messages go to all tabs over a BroadcastChannel, so a tab that is closed or crashes needs no
// message to the worker. A new tab sends the name of the channel, the gateway's address and the
// page's half of the session; the reply is the state of the connection. The state so far goes over
// the channel as well, in order with the changes that follow it. The other tabs load it once more.

import { PbxStates } from "./state.js";
import { followAll } from "./stream.js";

let connection = null; // the last message about the connection; null before the first tab
let noState = null; // the message that there is no state, if there was one
let channel = null;
const states = new PbxStates();
const ending = new AbortController();

function start(settings) {
  channel = new BroadcastChannel(settings.channel);
  channel.onmessage = ({ data: [name] }) => {
    if (name !== "session") return;
    ending.abort();
    self.close();
  };
  connection = ["down", "Connecting…"];
  followAll(settings, ending.signal, (...message) => {
    keep(message);
    channel.postMessage(message);
  });
}

/** Keep what a later tab needs. */
function keep(message) {
  const [name, value] = message;
  if (["open", "down", "ended"].includes(name)) connection = message;
  if (name === "noState") noState = message;
  if (name === "stateOpen") states.clear(); // the whole state of each server follows
  if (["state", "change", "away"].includes(name)) states.apply(name, value);
}

self.onconnect = ({ ports: [port] }) => {
  port.onmessage = ({ data }) => {
    if (connection === null) start(data);
    port.postMessage(connection);
    if (noState) port.postMessage(noState);
    for (const message of states.messages()) channel.postMessage(message);
  };
};
