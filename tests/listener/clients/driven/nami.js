// nami: an event with the ActionID of an open action of its own throws (src/nami.js, onRawEvent), so its ActionIDs are none of the
// other clients'.
const [, , host, port, username, secret] = process.argv;
const name = process.env.AMI_EVENT;
const nami = require("nami");
const logger = Object.fromEntries(["debug", "info", "warn", "error", "setLevel"].map((method) => [method, () => {}]));
const client = new nami.Nami({ host, port: Number(port), username, secret, logger });
const act = (action) => new Promise((resolve) => client.send(action, resolve));
client.logger = logger;
let sent = 0;
client.on("namiEventUserEvent", (event) => event.userevent === name && console.log("event", event.number));
client.once("namiConnected", async () => {
  console.log("ready");
  for await (const line of require("readline").createInterface({ input: process.stdin })) {
    const [command, value] = line.split(" ");
    const action = {
      event: () => Object.assign(new nami.Actions.UserEvent(), { UserEvent: name, Number: value }),
      mask: () => new nami.Actions.Events(value),
      ping: () => new nami.Actions.Ping(),
    }[command]();
    action.ActionID = `${name}-${++sent}`;
    console.log("answer", (await act(action)).response);
  }
  process.exit();
});
client.open();
