// asterisk-manager: keeps itself connected.
const [, , host, port, username, secret] = process.argv;
const ami = new require("asterisk-manager")(Number(port), host, username, secret, true);
const found = {};
const numbers = [];
let originated;
const act = (action) => new Promise((resolve) => ami.action(action, (error, answer) => resolve(error || answer)));
const wait = async (fact) => {
  for (let left = 1500; left && !fact(); left--) await new Promise((resolve) => setTimeout(resolve, 10));
};
ami.on("userevent", (event) => event.userevent === process.env.AMI_EVENT && numbers.push([event.number, event.name]));
ami.on("originateresponse", (event) => event.actionid === "own-call" && (originated = event.response));
ami.on("connect", async () => {
  const ping = await act({ action: "ping" });
  found.ping = ping.ping;
  found.command = (await act({ action: "command", command: "core show uptime" })).response;
  const pings = await Promise.all(Array.from({ length: 100 }, () => act({ action: "ping" })));
  found.hundred = pings.filter((answer) => answer.ping === "Pong").length;
  for (let number = 0; number < 20; number++) await act({ action: "userevent", userevent: process.env.AMI_EVENT, number, name: "Grüße" });
  const call = { action: "originate", channel: "Local/answer@calls", application: "Hangup", async: true };
  await act({ ...call, actionid: "own-call", variable: { A: 1, B: 2 } });
  await wait(() => originated && numbers.length === 20);
  found.originate = originated;
  found.events = numbers;
  found.logoff = (await act({ action: "logoff" })).response;
  console.log(JSON.stringify(found));
  process.exit();
});
