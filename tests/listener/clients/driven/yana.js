// yana.
const { host, port, username: login, secret: password, report, run } = require("./driver");
const AMI = require("yana");
const ami = new AMI({ host, port, login, password, events: true });
const header = (packet, name) => packet[name] ?? packet[name.toLowerCase()];
const act = (action) => new Promise((resolve) => ami.send(action, (answer) => resolve(header(answer, "Response"))));
ami.on("UserEvent", (event) => report(header(event, "UserEvent"), header(event, "Number")));
ami.on("error", (error) => console.error(error));
ami.connect(() => run(act));
