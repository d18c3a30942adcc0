// asterisk-ami-client.
const [, , host, port, username, secret] = process.argv;
const name = process.env.AMI_EVENT;
const AmiClient = require("asterisk-ami-client");
const client = new AmiClient();
client.on("UserEvent", (event) => event.UserEvent === name && console.log("event", event.Number));
client.connect(username, secret, { host, port: Number(port) }).then(async () => {
  console.log("ready");
  for await (const line of require("readline").createInterface({ input: process.stdin })) {
    const [command, value] = line.split(" ");
    const action = {
      event: { Action: "UserEvent", UserEvent: name, Number: value },
      mask: { Action: "Events", EventMask: value },
      ping: { Action: "Ping" },
    }[command];
    console.log("answer", (await client.action(action, true)).Response);
  }
  process.exit();
});
