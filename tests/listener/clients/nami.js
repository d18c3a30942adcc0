// nami: wants the greeting in a segment of its own, and reads ASCII (src/nami.js, setEncoding). An event with the ActionID of an
// open action of its own throws (onRawEvent), so actions with events have ActionIDs that the other client does not use.
const [, , host, port, username, secret] = process.argv;
const nami = require("nami");
const silent = Object.fromEntries(["debug", "info", "warn", "error", "setLevel"].map((name) => [name, () => {}]));
const client = new nami.Nami({ host, port: Number(port), username, secret, logger: silent });
const found = {};
const numbers = [];
let originated;
const act = (action) => new Promise((resolve) => client.send(action, resolve));
const wait = async (fact) => {
  for (let left = 1500; left && !fact(); left--) await new Promise((resolve) => setTimeout(resolve, 10));
};
client.logger = silent;
client.on("namiEventUserEvent", (event) => event.userevent === process.env.AMI_EVENT && numbers.push([event.number, event.name]));
client.on("namiEventOriginateResponse", (event) => (originated = event.response));
client.on("namiConnected", async () => {
  found.ping = (await act(new nami.Actions.Ping())).ping;
  const pings = await Promise.all(Array.from({ length: 100 }, () => act(new nami.Actions.Ping())));
  found.hundred = pings.filter((answer) => answer.ping === "Pong").length;
  const status = await act(new nami.Actions.QueueStatus());
  found.list = status.events.at(-1).event;
  for (let number = 0; number < 20; number++) {
    const action = new nami.Actions.UserEvent();
    const ActionID = `${process.env.AMI_EVENT}-${number}`;
    Object.assign(action, { ActionID, UserEvent: process.env.AMI_EVENT, Number: number, Name: "Gruesse" });
    await act(action);
  }
  const call = new nami.Actions.Originate();
  Object.assign(call, { ActionID: `${process.env.AMI_EVENT}-call`, channel: "Local/answer@calls", application: "Hangup", async: "true" });
  await act(call);
  await wait(() => originated && numbers.length === 20);
  found.originate = originated;
  found.events = numbers;
  console.log(JSON.stringify(found));
  process.exit();
});
client.open();
