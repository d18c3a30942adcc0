// One action, and then three events: node example.js [RUN_DIR]

import { AmidError, Client } from "./amid.js";

const client = new Client({ runDir: process.argv[2] });
try {
  const [{ name: server }] = await client.servers();
  const { response } = await client.action("CoreStatus", {}, { server });
  console.log(`${server} is up since ${response.CoreStartupTime}`);

  let left = 3;
  for await (const item of client.events([], { server, timeout: 10 })) {
    console.log(item);
    if (--left === 0) break;
  }
} catch (error) {
  if (!(error instanceof AmidError)) throw error;
  console.log(error.message);
}
client.close();
