// One event stream for all tabs of a browser. A browser opens six connections to a host: with a stream in each tab, the seventh tab
// would stay blank and the others would hang. A shared worker lives as long as any of its tabs, and no tab has to lead the others.
//
// What comes goes to all tabs by a BroadcastChannel: a tab that is closed, or crashes, needs no word with the worker. A tab connects
// with the name of the channel, the address of the stream and the page's half of the session; it is answered whether the stream is up.

import { followStream } from "./stream.js";

let state = null; // the last word on the connection, for the next tab; null until a tab came
const ending = new AbortController();

function begin({ channel: name, url, session }) {
  const channel = new BroadcastChannel(name);
  channel.onmessage = ({ data: [kind] }) => {
    if (kind !== "leave") return;
    ending.abort();
    self.close();
  };
  state = ["down", "Connecting…"];
  followStream(url, session, ending.signal, (...told) => {
    if (["open", "down", "refused"].includes(told[0])) state = told;
    channel.postMessage(told);
  });
}

self.onconnect = ({ ports: [port] }) => {
  port.onmessage = ({ data }) => {
    if (state === null) begin(data);
    port.postMessage(state);
  };
};
