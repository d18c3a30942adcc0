// asterisk-manager, which reports an answer with Error as the error.
const [, , host, port, username, secret] = process.argv;
const name = process.env.AMI_EVENT;
const ami = new require("asterisk-manager")(Number(port), host, username, secret, true);
const act = (action) => new Promise((resolve) => ami.action(action, (error, answer) => resolve(error || answer)));
ami.on("userevent", (event) => event.userevent === name && console.log("event", event.number));
ami.once("connect", async () => {
  console.log("ready");
  for await (const line of require("readline").createInterface({ input: process.stdin })) {
    const [command, value] = line.split(" ");
    const action = {
      event: { action: "userevent", userevent: name, number: value },
      mask: { action: "events", eventmask: value },
      ping: { action: "ping" },
    }[command];
    console.log("answer", (await act(action)).response);
  }
  process.exit();
});
