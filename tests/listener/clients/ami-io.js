// ami-io: wants the greeting in a segment of its own. An event with the ActionID of an open action of its own throws
// (lib/index.js, parseEvent), so actions with events have ActionIDs that the other client does not use.
const [, , host, port, login, password] = process.argv;
const AmiIo = require("ami-io");
const logger = new AmiIo.SilentLogger();
const client = AmiIo.createClient({ host, port: Number(port), login, password, logger });
const found = {};
const numbers = [];
const wait = async (fact) => {
  for (let left = 1500; left && !fact(); left--) await new Promise((resolve) => setTimeout(resolve, 10));
};
const act = (action) => new Promise((resolve) => client.send(action, (error, answer) => resolve(error || answer)));
client.on("event", (event) => event.event === "UserEvent" && event.userevent === process.env.AMI_EVENT && numbers.push([event.number, event.name]));
client.on("connected", async () => {
  found.ping = (await act(new AmiIo.Action.Ping())).ping;
  const pings = await Promise.all(Array.from({ length: 100 }, () => act(new AmiIo.Action.Ping())));
  found.hundred = pings.filter((answer) => answer.ping === "Pong").length;
  for (let number = 0; number < 20; number++) {
    const action = new AmiIo.Action.Action("UserEvent");
    const headers = { ActionID: `${process.env.AMI_EVENT}-${number}`, UserEvent: process.env.AMI_EVENT, Number: number, Name: "Gruesse" };
    for (const [name, value] of Object.entries(headers)) action.set(name, value);
    await act(action);
  }
  await wait(() => numbers.length === 20);
  found.events = numbers;
  console.log(JSON.stringify(found));
  process.exit();
});
client.connect();
