// Not run: `npm run types` checks that a program in TypeScript can be written against amid.d.ts, and reads what it says.

import { AmidError, Client, Gap, bytesOf, textOf, type Event } from "./amid.js";

const client = new Client({ runDir: "/run/amid" });

export async function originate(channel: string): Promise<string> {
  const fields = { Channel: channel, Application: "Hangup", Async: true, Variable: ["A=1", Buffer.of(0xff)], Account: undefined };
  const { until, elapsed } = await client.action("Originate", fields, { server: "pbx1", timeout: 30, until: "OriginateResponse" });
  return `${until?.Response} after ${elapsed.toFixed(3)} s`;
}

export async function names(): Promise<string[]> {
  await client.action("UserEvent", new Map<string | Uint8Array, string>([[Buffer.of(0xfc), "ü"]]));
  const [{ name, epoch, seq }] = await client.servers({ timeout: 1 });
  const { events, more } = await client.pull({ server: name, after: { epoch, seq }, names: ["Hangup"], limit: 1, timeout: 0 });
  const offered = await client.actions({ server: name });
  return more ? events.map(({ event }) => event) : offered.map(({ name }) => name);
}

export async function follow(take: (event: Event) => void, signal: AbortSignal): Promise<number> {
  const events = await client.events(["Hangup"], { signal, timeout: 60 }).open();
  for await (const item of events) {
    if (item instanceof Gap) console.log(item.missed ?? "some", "events are missing behind number", item.after);
    else take(item);
  }
  return events.missed + events.gaps;
}

export async function watch(show: (channels: object[]) => void): Promise<void> {
  const { channels, exact } = await client.state({ server: "pbx1", kinds: ["channels"], where: "state=Up" });
  if (exact) show(channels);
  for await (const { kind, id, set, gone, state } of client.changes(["channels"], { server: "pbx1" })) {
    if (kind === "reset") show(state!.channels);
    else console.log(id, gone ? "has ended" : set);
  }
}

export function isSafeToRepeat(error: unknown): boolean {
  return error instanceof AmidError && !error.sent && error.kind !== "invalid_params";
}

export const same: boolean = textOf(bytesOf("Grüße")) === "Grüße";

// @ts-expect-error: a header's value is no map
void client.action("Ping", { ActionID: { is: "text" } });
