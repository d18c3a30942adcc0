/** Every way in which a call can fail. */
export class AmidError extends Error {
  constructor(kind, message, { sent = false, server, actionId, response } = {}) {
    super(message);
    this.name = "AmidError";
    this.kind = kind;
    this.sent = sent;
    this.server = server;
    this.actionId = actionId;
    this.response = response;
  }

  /** The error in a reply. Without `sent` in it, Asterisk may have received the action. */
  static of({ message, data }) {
    const { kind = "internal_error", sent = true, server, action_id: actionId, response } = data ?? {};
    return new AmidError(kind, message ?? kind, { sent, server, actionId, response });
  }
}

/** No daemon took a request. */
export function unreachable(what) {
  return new AmidError("unreachable", `${what}: start one with \`amid run\`, or name its directory with runDir or AMID_RUN_DIR`);
}
