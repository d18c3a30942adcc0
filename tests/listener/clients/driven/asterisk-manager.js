// asterisk-manager, which reports an answer with Error as the error.
const { host, port, username, secret, report, run } = require("./driver");
const ami = new require("asterisk-manager")(port, host, username, secret, true);
const act = (action) => new Promise((resolve) => ami.action(action, (error, answer) => resolve((error || answer).response)));
ami.on("userevent", (event) => report(event.userevent, event.number));
ami.once("connect", () => run(act));
