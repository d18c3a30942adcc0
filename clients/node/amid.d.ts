/**
 * The types of the client, and what its methods do. Times are in seconds, `time` and `since` since 1970. The daemon may give more
 * members than stand here; clients/README.md describes them.
 */

/** Text, or a `Buffer` when it is not UTF-8. */
export type Text = string | Buffer;

/**
 * What Asterisk sent: header name to value, `Response` or `Event` included; a list for a header that occurs more than once. In a
 * name that is not UTF-8, each odd byte is a lone surrogate: `bytesOf` gives its bytes.
 */
export type Packet = { [header: string]: Text | Text[] };
/** A value to send: a list for a repeated header; bytes for text that is not UTF-8. */
export type FieldValue = string | Uint8Array | number | boolean | (string | Uint8Array | number | boolean)[];
/** The headers of an action. Undefined values are left out. A name that is not UTF-8 is bytes in a `Map`, or text of `textOf`. */
export type Fields = { [header: string]: FieldValue | undefined } | Map<string | Uint8Array, FieldValue>;

/** timeout: 5 when left out. signal: when aborted, the daemon cancels the call, and the call rejects with the signal's reason. */
export type CallOptions = { timeout?: number; signal?: AbortSignal };
/** The server may be left out when there is one. */
export type ServerOptions = CallOptions & { server?: string };
/** until: the name of a later event with this ActionID to wait for as well, such as `OriginateResponse`. */
export type ActionOptions = ServerOptions & { until?: string };

/** `action_id` is as Asterisk saw it; `events` are the items of a list, `complete` is its end; `output` has the lines of a Command. */
export type ActionResult = { server: string; action_id: string; response: Packet; events: Packet[]; complete: Packet | null } & {
  output: Text[]; until?: Packet; elapsed: number;
};

/** `detail` says why it is not up. */
export type Server = Cursor & { name: string; state: "up" | "booting" | "connecting" | "rejected" | "lost"; detail: string } & {
  asterisk: string; lanes: { free: number; busy: number; limit: number }; queued: number; since: number;
};
export type Process = { name: string; pid: number; uptime: number; restarts: number; last_exit: string; problem: string };
export type Counters = { [name: string]: number };
export type Status = { version: string; uptime: number; servers: Server[]; processes: Process[]; counters: Counters };

/** Where one is in a server's events: behind number `seq` of the event session `epoch`. */
export type Cursor = { epoch: number; seq: number };
/** `seq` is its number within its epoch, `prev` that of the event of the same name before it. `fields` has all headers but `Event`. */
export type Event = Cursor & { server: string; prev: number; time: number; event: string; fields: Packet };
/** `missed` is how many events are no longer held, or null where an epoch ended. */
export type EventsPage = Cursor & { server: string; events: Event[]; missed: number | null; more: boolean };

/** The state exactly as of event `seq` if `exact`, else `detail` says what is missing; and a list of things for each kind. */
export type State = Cursor & { server: string; rev: number; exact: boolean; detail: string } & { [kind: string]: any };
/** Of the thing `id`: `set` has the members with new values, or it is `gone`. The kind `reset` has the whole `state` instead. */
export type Change = Partial<Cursor> & { kind: string; id?: string; set?: { [member: string]: unknown }; gone?: true; state?: State };
export type StateOptions = ServerOptions & { kinds?: readonly string[]; where?: string | string[] | { [member: string]: unknown } };

/** Events that are missing: `missed` of them behind number `after` of `epoch`; null where the epoch ended: nobody knows. */
export class Gap {
  private constructor();
  readonly server: string;
  readonly epoch: number;
  readonly after: number;
  readonly missed: number | null;
}

/**
 * Events as they come, in order and each once, also over the restart of a reader or of the daemon, and a `Gap` where the daemon no
 * longer holds what was missed. `next` rejects with a `timeout` when no item came in time, and may be called again.
 */
export interface Events<Item = Event | Gap> extends AsyncIterableIterator<Item> {
  /** How many events are known to be missing, and how many gaps there were. */
  readonly missed: number;
  readonly gaps: number;
  /** Resolves when whatever comes from then on will be given. Rejects with `unreachable` when there is no daemon. */
  open(): Promise<this>;
  /** Ends the events, also for a `next` that is waiting. Leaving a `for await` does it too. */
  close(): void;
}

/**
 * A call that failed. `sent` false: Asterisk never received the action, so retrying is safe. True: it may have run. `kind` is one
 * of clients/README.md, or `unreachable`: no daemon took the request. `response` is Asterisk's own packet.
 */
export class AmidError extends Error {
  private constructor();
  readonly kind: string;
  readonly sent: boolean;
  readonly server?: string;
  readonly actionId?: string;
  readonly response?: Packet;
}

/** A connection to the daemon, for any number of calls at once. It opens nothing before the first. Methods reject with `AmidError`. */
export class Client {
  /** runDir: the daemon's directory; else AMID_RUN_DIR; else the first of /run/amid and $XDG_RUNTIME_DIR/amid with a daemon. */
  constructor(options?: { runDir?: string });
  action(name: string | Uint8Array, fields?: Fields, options?: ActionOptions): Promise<ActionResult>;
  /** The output lines of an Asterisk CLI command. */
  command(text: string | Uint8Array, options?: ServerOptions): Promise<Text[]>;
  servers(options?: CallOptions): Promise<Server[]>;
  status(options?: CallOptions): Promise<Status>;
  /** The actions that this Asterisk offers. */
  actions(options?: ServerOptions): Promise<{ name: string; synopsis: string; privilege: string }[]>;
  /** One page of events behind `after` (null: from now on), as soon as there is one, or empty after `timeout`, 25 when left out. */
  pull(options?: ServerOptions & { after?: Cursor | null; names?: readonly string[]; limit?: number }): Promise<EventsPage>;
  /** The live state of a PBX: these kinds, or all. timeout: 10 when left out, since the daemon loads it at the first request. */
  state(options?: StateOptions): Promise<State>;
  /** The audit trail behind number `after`, for callers with `admin`. */
  audit(options?: CallOptions & { after?: number; limit?: number }): Promise<{ records: object[]; seq: number; left_out: number }>;
  /** Replaces a server's reader. */
  restart(server: string, options?: CallOptions): Promise<{ server: string }>;
  /** Asks the daemon, not Asterisk, for a sign of life. */
  ping(options?: CallOptions): Promise<{}>;
  /** Any method, also one that this client does not know. */
  call(method: string, params?: { [name: string]: unknown }, options?: CallOptions): Promise<unknown>;
  /** Events with these names, or all. timeout: for each item; without a limit when left out. signal: ends them, with its reason. */
  events(names?: readonly string[], options?: ServerOptions): Events;
  /** The live state of these kinds, as a `reset`, and then its changes. After a loss of changes there is a `reset` again. */
  changes(kinds: readonly string[], options?: ServerOptions): Events<Change>;
  /** Ends the events, and the calls that are open, with `cancelled`. The client may be used again. */
  close(): void;
}

/** The bytes of text that `textOf` made. Throws a `RangeError` for a lone surrogate that stands for no byte. */
export function bytesOf(text: string): Buffer;
/** Bytes as text, with a lone surrogate, U+DC80 to U+DCFF, for each byte that is not UTF-8. */
export function textOf(bytes: Uint8Array): string;
