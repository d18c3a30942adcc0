// yana.
const [, , host, port, login, password] = process.argv;
const name = process.env.AMI_EVENT;
const AMI = require("yana");
const ami = new AMI({ host, port: Number(port), login, password, events: true });
const act = (action) => new Promise((resolve) => ami.send(action, resolve));
const header = (event, name) => event[name] ?? event[name.toLowerCase()];
ami.on("UserEvent", (event) => header(event, "UserEvent") === name && console.log("event", header(event, "Number")));
ami.on("error", (error) => console.error(error));
ami.connect(async () => {
  console.log("ready");
  for await (const line of require("readline").createInterface({ input: process.stdin })) {
    const [command, value] = line.split(" ");
    const action = {
      event: { Action: "UserEvent", UserEvent: name, Number: value },
      mask: { Action: "Events", EventMask: value },
      ping: { Action: "Ping" },
    }[command];
    console.log("answer", header(await act(action), "Response"));
  }
  process.exit();
});
