// The actions of the page. Buttons appear for what the token may send, and each one opens a dialog
// that describes the effect before anything is sent. An error of the daemon or of Asterisk is shown
// in the same dialog.

import { action, get, offered } from "./api.js";
import { label } from "./describe.js";
import { $, make, setText } from "./dom.js";

const ACTIONS = ["Hangup", "BlindTransfer", "Park", "Originate", "QueuePause", "QueueAdd", "QueueRemove"];
const RING_MS = 30000;
const REPORT_MS = 4000; // how long the outcome of an action is shown behind its dialog
const PAUSE_REASONS = ["Lunch", "Break", "Meeting", "Training", "After-call work"];

export class Actions {
  /** `serverNames` returns the names of the servers. */
  constructor(serverNames) {
    this.serverNames = serverNames;
    this.rights = null; // of /v1/rights; null until they are known
    this.offers = new Map(); // server -> the actions of its Asterisk; null if unknown
    this.form = $("act");
    $("act-cancel").addEventListener("click", () => $("act-dialog").close());
    // The second click of a double click on the button that opened the dialog confirms nothing.
    $("act-do").addEventListener("click", (click) => click.detail > 1 && click.preventDefault());
    this.form.addEventListener("submit", (submit) => {
      submit.preventDefault();
      this.#run();
    });
  }

  /** Request the rights of this token. After a restart of the gateway they may be others. */
  async loadRights() {
    this.rights = await get(`v1/rights?${ACTIONS.map((name) => `action=${name}`).join("&")}`);
    return this.rights;
  }

  /** Request the actions that a server offers. After a restart of its Asterisk they may be others. */
  async loadOffers(server) {
    this.offers.set(server, await offered(server).catch(() => null));
  }

  /** Whether the token may send this action and, if a server is given, its Asterisk offers it. */
  may(name, server) {
    if (!this.rights?.actions[name]) return false;
    return server === undefined || (this.offers.get(server)?.has(name.toLowerCase()) ?? true);
  }

  /** The parties of a call that can be transferred or parked: those in a bridge with one other. */
  parties(call) {
    return call.legs.filter((leg) => leg.bridged.length === 2 && leg.partners.length > 0);
  }

  // ── calls ──

  hangUp(call) {
    const channels = call.legs.map((leg) => leg.channel.name);
    const whole = ["", `The whole call (${channels.length} channel${channels.length > 1 ? "s" : ""})`];
    this.#open({
      title: "Hang up",
      text: `This ends the call of ${call.who}${call.whom ? ` with ${call.whom}` : ""}.`,
      fields: call.legs.length > 1 ? [{ name: "party", label: "Who", choices: [whole, ...call.legs.map(choice)] }] : [],
      verb: "Hang up",
      danger: true,
      run: ({ party }) => hangUpAll(call.server, party ? [party] : channels),
    });
  }

  transfer(call) {
    const parties = this.parties(call);
    this.#open({
      title: "Transfer",
      text: "The other party is hung up. The transferred party hears the new destination ring.",
      fields: [
        { name: "party", label: "Transferred party", choices: parties.map(choice) },
        { name: "exten", label: "To the extension", required: true, hint: "200" },
        { name: "context", label: "In the context", required: true, value: call.call.context },
      ],
      verb: "Transfer",
      danger: true,
      run: ({ party, exten, context }) => {
        const channel = bridgedWith(parties, party); // Asterisk transfers the other channel of its bridge
        return action(call.server, "BlindTransfer", { Channel: channel, Context: context, Exten: exten });
      },
    });
  }

  park(call) {
    this.#open({
      title: "Park",
      text: "The other party is hung up. The parked party hears music until the call is taken or the timeout of the parking lot expires.",
      fields: [
        { name: "party", label: "Parked party", choices: this.parties(call).map(choice) },
        { name: "lot", label: "Parking lot (empty: the default lot)" },
        { name: "back", label: "Channel that rings after the timeout (empty: Asterisk's default)", hint: "PJSIP/100" },
      ],
      verb: "Park",
      danger: true,
      run: ({ party, lot, back }) => {
        const options = { ...(lot && { Parkinglot: lot }), ...(back && { TimeoutChannel: back }) };
        return action(call.server, "Park", { Channel: party, ...options });
      },
    });
  }

  originate() {
    this.#open({
      title: "New call",
      text: "The first phone rings. When it is answered, it is connected to the extension.",
      fields: [
        { name: "server", label: "Server", choices: this.serverNames().map((name) => [name, name]) },
        { name: "channel", label: "First phone", required: true, hint: "PJSIP/100" },
        { name: "exten", label: "Extension", required: true, hint: "200" },
        {
          name: "context",
          label: "In the context",
          required: true,
          value: sessionStorage.amidContext ?? "",
          hint: "from-internal",
        },
        { name: "shown", label: "Caller ID (optional)", hint: "Reception <100>" },
      ],
      verb: "Call",
      run: ({ server, channel, exten, context, shown }) => {
        sessionStorage.amidContext = context;
        const fields = { Channel: channel, Context: context, Exten: exten, Priority: 1, Async: true, Timeout: RING_MS };
        return action(server, "Originate", shown ? { ...fields, CallerID: shown } : fields);
      },
    });
  }

  // ── queues ──

  pauseMember({ server, queue }, member) {
    const verb = member.paused ? "Unpause" : "Pause";
    const effect = member.paused
      ? "receives calls of the queue again"
      : "receives no calls of the queue until unpaused; a current call continues";
    const where = {
      name: "queue",
      label: "Where",
      choices: [
        [queue.name, `Queue ${queue.name}`],
        ["", "All queues of this member"],
      ],
    };
    const reason = { name: "reason", label: "Reason", suggestions: PAUSE_REASONS, hint: "Lunch" };
    this.#open({
      title: verb,
      text: `${member.name} ${effect}.`,
      fields: member.paused ? [where] : [where, reason],
      verb,
      run: (values) => {
        const options = { ...(values.queue && { Queue: values.queue }), ...(values.reason && { Reason: values.reason }) };
        return action(server, "QueuePause", { Interface: member.interface, Paused: !member.paused, ...options });
      },
    });
  }

  addMember({ server, queue }) {
    this.#open({
      title: "Add member",
      text: `Adds a member to the queue ${queue.name} until it is removed. Asterisk may forget it when it restarts.`,
      fields: [
        { name: "interface", label: "Interface", required: true, hint: "PJSIP/100" },
        { name: "member", label: "Name (optional)", hint: "Ann" },
        { name: "penalty", label: "Penalty", type: "number", value: "0" },
      ],
      verb: "Add",
      run: (values) => {
        const fields = { Queue: queue.name, Interface: values.interface, Penalty: values.penalty || 0 };
        return action(server, "QueueAdd", values.member ? { ...fields, MemberName: values.member } : fields);
      },
    });
  }

  removeMember({ server, queue }, member) {
    this.#open({
      title: "Remove member",
      text: `Removes ${member.name} (${member.interface}) from the queue ${queue.name}. A current call continues.`,
      fields: [],
      verb: "Remove",
      danger: true,
      run: () => action(server, "QueueRemove", { Queue: queue.name, Interface: member.interface }),
    });
  }

  // ── the dialog ──

  /** Open the dialog; `run(values)` is called when the user confirms. */
  #open({ title, text, fields, verb, danger = false, run }) {
    this.confirmed = { title, run };
    setText($("act-title"), title);
    setText($("act-text"), text);
    setText($("act-error"), "");
    setText($("act-do"), verb);
    $("act-do").disabled = false;
    $("act-do").classList.toggle("danger", danger);
    $("act-fields").replaceChildren(...fields.flatMap(createField));
    $("act-dialog").showModal();
    (this.form.querySelector("#act-fields input") ?? $("act-cancel")).focus(); // never the button that ends a call
  }

  async #run() {
    const { confirmed } = this;
    const isShown = () => this.confirmed === confirmed && $("act-dialog").open; // the user may close it meanwhile
    const values = Object.fromEntries([...new FormData(this.form)].map(([name, value]) => [name, String(value).trim()]));
    setText($("act-error"), "");
    $("act-do").disabled = true;
    try {
      await confirmed.run(values);
      if (isShown()) $("act-dialog").close();
      this.#report(`${confirmed.title}: done.`);
    } catch (error) {
      const text = `${error.message} (${error.outcome})`;
      if (isShown()) {
        setText($("act-error"), text);
        $("act-error").scrollIntoView({ block: "nearest" });
      } else this.#report(`${confirmed.title}: ${text}`);
    }
    if (isShown()) $("act-do").disabled = false;
  }

  #report(text) {
    clearTimeout(this.timer);
    setText($("done"), text);
    this.timer = setTimeout(() => setText($("done"), ""), REPORT_MS);
  }
}

/** Hang up channels in order. Some may have ended before, or end with others, but at least one must be hung up. */
async function hangUpAll(server, channels) {
  const failures = [];
  for (const channel of channels) {
    await action(server, "Hangup", { Channel: channel }).catch((error) => {
      if (error.kind !== "action_failed" || failures.push(error) === channels.length) throw error;
    });
  }
}

const choice = (leg) => [
  leg.channel.name,
  label(leg) === leg.channel.name ? leg.channel.name : `${label(leg)}, ${leg.channel.name}`,
];

/** The other channel in the bridge of this party. */
function bridgedWith(parties, name) {
  const leg = parties.find((one) => one.channel.name === name);
  return leg.bridged.find((channel) => channel.name !== name).name;
}

function createField({ name, label: text, choices, suggestions, required = false, value = "", hint = "", type = "text" }) {
  const id = `act-${name}`;
  const heading = make("label", { htmlFor: id }, text);
  if (choices)
    return [heading, make("select", { id, name }, ...choices.map(([key, shown]) => make("option", { value: key }, shown)))];
  const input = make("input", { id, name, type, value, required, placeholder: hint, autocomplete: "off", spellcheck: false });
  if (type === "number") input.min = 0;
  if (!suggestions) return [heading, input];
  input.setAttribute("list", `${id}-list`);
  return [heading, input, make("datalist", { id: `${id}-list` }, ...suggestions.map((one) => make("option", { value: one })))];
}
