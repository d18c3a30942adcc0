// yana: goes by a packet's first header.
const [, , host, port, login, password] = process.argv;
const AMI = require("yana");
const ami = new AMI({ host, port: Number(port), login, password, events: true });
const found = {};
const numbers = [];
let originated;
const act = (action) => new Promise((resolve) => ami.send(action, resolve));
const wait = async (fact) => {
  for (let left = 1500; left && !fact(); left--) await new Promise((resolve) => setTimeout(resolve, 10));
};
const header = (event, name) => event[name] ?? event[name.toLowerCase()];
ami.on("UserEvent", (event) => header(event, "UserEvent") === process.env.AMI_EVENT && numbers.push([header(event, "Number"), header(event, "Name")]));
ami.on("OriginateResponse", (event) => (originated = header(event, "Response")));
ami.on("error", (error) => console.error(error));
ami.connect(async () => {
  found.ping = header(await act({ Action: "Ping" }), "Ping");
  found.command = header(await act({ Action: "Command", Command: "core show uptime" }), "Response");
  const pings = await Promise.all(Array.from({ length: 100 }, () => act({ Action: "Ping" })));
  found.hundred = pings.filter((answer) => header(answer, "Ping") === "Pong").length;
  for (let number = 0; number < 20; number++) await act({ Action: "UserEvent", UserEvent: process.env.AMI_EVENT, Number: number, Name: "Grüße" });
  await act({ Action: "Originate", Channel: "Local/answer@calls", Application: "Hangup", Async: true, Variable: ["A=1", "B=2"] });
  await wait(() => originated && numbers.length === 20);
  found.originate = originated;
  found.events = numbers;
  console.log(JSON.stringify(found));
  process.exit();
});
