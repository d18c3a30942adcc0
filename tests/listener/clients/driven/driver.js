// What the drivers have in common: the arguments, the lines that they read, and those that they print (driven_client.py).
const [, , host, port, username, secret] = process.argv;
const name = process.env.AMI_EVENT;

const report = (userEvent, number) => userEvent === name && console.log("event", number);

// act: sends an action and resolves with the Response of its answer.
async function run(act) {
  console.log("ready");
  for await (const line of require("readline").createInterface({ input: process.stdin })) {
    const [command, value] = line.split(" ");
    const action = {
      event: { Action: "UserEvent", UserEvent: name, Number: value },
      mask: { Action: "Events", EventMask: value },
      ping: { Action: "Ping" },
    }[command];
    console.log("answer", await act(action));
  }
  process.exit();
}

module.exports = { host, port: Number(port), username, secret, report, run };
