/**
 * The types of the client. All times are in seconds: timeouts, `elapsed` and `uptime`; `time` and `since` are since 1970.
 *
 * The daemon may give more members than stand here, for maps only ever gain them.
 */

/** Text, or a `Buffer` when it is not UTF-8. */
export type Text = string | Buffer;

/** A header's value; a list when the header occurs more than once. */
export type Value = Text | Text[];

/**
 * What Asterisk sent: header name to value, `Response` or `Event` included. Of a name that is not UTF-8, each odd byte is a lone
 * surrogate: `bytesOf` gives its bytes.
 */
export type Packet = { [header: string]: Value };

/** A value to send: a list for a repeated header; text that is not UTF-8 as bytes. */
export type FieldValue = string | Uint8Array | number | boolean;

/** The headers of an action. What is undefined is left out. A name that is not UTF-8 is bytes in a `Map`, or text of `textOf`. */
export type Fields =
  | { [header: string]: FieldValue | FieldValue[] | undefined }
  | Map<string | Uint8Array, FieldValue | FieldValue[]>;

export interface CallOptions {
  /** 5 when left out. */
  timeout?: number;
}

export interface ServerOptions extends CallOptions {
  /** May be left out when there is one. */
  server?: string;
}

export interface ActionOptions extends ServerOptions {
  /** The name of a later event with this ActionID to wait for as well, such as `OriginateResponse`. */
  until?: string;
}

export interface EventsOptions {
  /** One server only; otherwise all that the daemon has when the events begin. */
  server?: string;
  /** How long to wait for each item; for ever when left out. */
  timeout?: number;
  /** Ends the events when it is aborted; the iteration then throws the signal's reason. */
  signal?: AbortSignal;
}

export interface ActionResult {
  server: string;
  /** The ActionID as Asterisk saw it. */
  action_id: string;
  response: Packet;
  /** The items of a list. */
  events: Packet[];
  /** A list's closing event. */
  complete: Packet | null;
  /** The lines of a Command. */
  output: Text[];
  /** The event that was waited for. */
  until?: Packet;
  elapsed: number;
}

export interface Server {
  name: string;
  state: "up" | "booting" | "connecting" | "rejected" | "lost";
  /** Why it is not up; else empty. */
  detail: string;
  /** The version of Asterisk, when it is known. */
  asterisk: string;
  epoch: number;
  seq: number;
  /** The endpoint of events by name. */
  events: string;
  /** The endpoint of all events. */
  stream: string;
  lanes: { free: number; busy: number; limit: number };
  queued: number;
  since: number;
}

export interface Status {
  version: string;
  uptime: number;
  servers: (Server & { counters: { [name: string]: number } })[];
  processes: { name: string; pid: number; uptime: number; restarts: number; last_exit: string }[];
  counters: { [name: string]: number };
}

export interface Action {
  name: string;
  synopsis: string;
  privilege: string;
}

export interface Event {
  server: string;
  /** The event session. */
  epoch: number;
  /** The event's number within its epoch. */
  seq: number;
  /** Its number among the events of its name. */
  nth: number;
  /** When the daemon read it. */
  time: number;
  /** Its name. */
  event: string;
  /** Every header but `Event`. */
  fields: Packet;
}

/** Once a second, what was published last. */
export interface Tick extends Event {
  /** Event name to its last `nth`. */
  counts: { [name: string]: number };
}

/** Events that this subscriber did not get. */
export class Gap {
  private constructor();
  readonly server: string;
  readonly epoch: number;
  /** They lie behind this number. */
  readonly after: number;
  /** And not behind this one; null at the end of an epoch. */
  readonly until: number | null;
  /** How many; null at the end of an epoch, where it cannot be known. */
  readonly missed: number | null;
  /** Why, in words. */
  readonly reason: string;
  /** Their name, when only some names are subscribed. */
  readonly event: string | null;
}

/** The rule that finds gaps, for a program that has sockets of its own. */
export class Gaps {
  constructor(names?: readonly string[] | null);
  /** Takes an event: whether it is new, and what was missed before it. */
  event(event: Event): { fresh: boolean; gaps: Gap[] };
  /** Takes a tick: what was missed before it. */
  tick(tick: Tick): Gap[];
  /** What this event would show to be missing, were it the next. */
  beforeEvent(event: Event): Gap[];
  /** What this tick would show to be missing, were it the next. */
  beforeTick(tick: Tick): Gap[];
  /** The gap, from where nothing of any subscribed name is missing: what to ask `replay` for. */
  widened(gap: Gap): Gap;
}

/** Events and gaps, for ever. See lib/events.js. */
export interface Events extends AsyncIterableIterator<Event | Gap> {
  /** How many events are known to be missing. */
  readonly missed: number;
  /** How many gaps there were. */
  readonly gaps: number;
  /** How many events were lost on the way and fetched once more. */
  readonly replayed: number;
  /** Subscribes; resolves when that is in effect, after 2 s at most. `next` does it too. */
  open(): Promise<this>;
  /** Ends the events, also for a `next` that is waiting. */
  close(): void;
}

/**
 * A call that did not end well. `sent` false: Asterisk never saw the action, and trying again is safe. True: it may have been
 * carried out.
 */
export class AmidError extends Error {
  constructor(
    kind: string,
    message: string,
    known?: { sent?: boolean; server?: string; actionId?: string; response?: Packet; oldest?: number },
  );
  /** One of the kinds of clients/README.md, or `unreachable`. */
  readonly kind: string;
  readonly sent: boolean;
  readonly server?: string;
  readonly actionId?: string;
  /** Asterisk's own packet. */
  readonly response?: Packet;
  /** With `gone`: the first seq of that epoch that `replay` still has. */
  readonly oldest?: number;
}

/** A connection to the daemon. Every method rejects with an `AmidError`. See lib/client.js. */
export class Client {
  /** runDir: the daemon's directory; else AMID_RUN_DIR; else the first of /run/amid and $XDG_RUNTIME_DIR/amid with a daemon. */
  constructor(options?: { runDir?: string });
  action(name: string | Uint8Array, fields?: Fields, options?: ActionOptions): Promise<ActionResult>;
  command(text: string | Uint8Array, options?: ServerOptions): Promise<Text[]>;
  servers(options?: CallOptions): Promise<Server[]>;
  status(options?: CallOptions): Promise<Status>;
  actions(options?: ServerOptions): Promise<Action[]>;
  replay(
    server: string,
    epoch: number,
    after: number,
    options?: { limit?: number; timeout?: number },
  ): Promise<{ events: Event[]; more: boolean }>;
  restart(server: string, options?: CallOptions): Promise<{ server: string }>;
  ping(options?: CallOptions): Promise<{}>;
  call(method: string, params?: { [name: string]: unknown }, options?: CallOptions): Promise<unknown>;
  events(names?: readonly string[], options?: EventsOptions): Events;
  close(): void;
}

/** The bytes of text that `textOf` made. Throws a `RangeError` for a lone surrogate that stands for no byte. */
export function bytesOf(text: string): Buffer;

/** Bytes as text, with a lone surrogate, U+DC80 to U+DCFF, for each byte that is not UTF-8. */
export function textOf(bytes: Uint8Array): string;
