// asterisk-ami-client.
const { host, port, username, secret, report, run } = require("./driver");
const AmiClient = require("asterisk-ami-client");
const client = new AmiClient();
const act = async (action) => (await client.action(action, true)).Response;
client.on("UserEvent", (event) => report(event.UserEvent, event.Number));
client.connect(username, secret, { host, port }).then(() => run(act));
