// asterisk-ami-client: promises, events by name.
const [, , host, port, username, secret] = process.argv;
const AmiClient = require("asterisk-ami-client");
const client = new AmiClient();
const found = {};
const numbers = [];
let originated;
const act = (action) => client.action(action, true);
const wait = async (fact) => {
  for (let left = 1500; left && !fact(); left--) await new Promise((resolve) => setTimeout(resolve, 10));
};
client.on("UserEvent", (event) => event.UserEvent === process.env.AMI_EVENT && numbers.push([event.Number, event.Name]));
client.on("OriginateResponse", (event) => (originated = event.Response));
client.connect(username, secret, { host, port: Number(port) }).then(async () => {
  found.ping = (await act({ Action: "Ping" })).Ping;
  found.command = (await act({ Action: "Command", Command: "core show uptime" })).Response;
  const pings = await Promise.all(Array.from({ length: 100 }, () => act({ Action: "Ping" })));
  found.hundred = pings.filter((answer) => answer.Ping === "Pong").length;
  for (let number = 0; number < 20; number++) await act({ Action: "UserEvent", UserEvent: process.env.AMI_EVENT, Number: number, Name: "Gruesse" });
  await act({ Action: "Originate", Channel: "Local/answer@calls", Application: "Hangup", Async: true });
  await wait(() => originated && numbers.length === 20);
  found.originate = originated;
  found.events = numbers;
  found.logoff = (await act({ Action: "Logoff" })).Response;
  console.log(JSON.stringify(found));
  process.exit();
});
