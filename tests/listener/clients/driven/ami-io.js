// ami-io: gives an answer with Error as the error. An event with the ActionID of an open action of its own throws (lib/index.js,
// parseEvent), so its ActionIDs are none of the other clients'.
const [, , host, port, login, password] = process.argv;
const name = process.env.AMI_EVENT;
const AmiIo = require("ami-io");
const client = AmiIo.createClient({ host, port: Number(port), login, password, logger: new AmiIo.SilentLogger() });
const act = (action) => new Promise((resolve) => client.send(action, (error, answer) => resolve(error || answer)));
let sent = 0;
client.on("event", (event) => event.event === "UserEvent" && event.userevent === name && console.log("event", event.number));
client.once("connected", async () => {
  console.log("ready");
  for await (const line of require("readline").createInterface({ input: process.stdin })) {
    const [command, value] = line.split(" ");
    const [action, headers] = {
      event: ["UserEvent", { UserEvent: name, Number: value }],
      mask: ["Events", { EventMask: value }],
      ping: ["Ping", {}],
    }[command];
    const request = new AmiIo.Action.Action(action);
    request.set("ActionID", `${name}-${++sent}`);
    for (const [header, text] of Object.entries(headers)) request.set(header, text);
    console.log("answer", (await act(request)).response);
  }
  process.exit();
});
client.connect();
