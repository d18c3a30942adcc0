/** Every way in which a call does not end well. */

/**
 * A call that did not end well.
 *
 * `sent` is the word that matters to a dialer. False: Asterisk never saw the action, and trying again is safe. True: it may have
 * been carried out, so a second try may be a second phone call.
 */
export class AmidError extends Error {
  /**
   * @param {string} kind one of the kinds of clients/README.md, or `unreachable`: no daemon took the request
   * @param {string} message
   * @param {object} [known]
   * @param {boolean} [known.sent] whether Asterisk may have seen the action
   * @param {string} [known.server]
   * @param {string} [known.actionId] the ActionID as Asterisk saw it
   * @param {import("../amid.js").Packet} [known.response] Asterisk's own packet
   * @param {number} [known.oldest] with `gone`: the first seq of that epoch that `replay` still has
   */
  constructor(kind, message, { sent = false, server, actionId, response, oldest } = {}) {
    super(message);
    this.name = "AmidError";
    this.kind = kind;
    this.sent = sent;
    this.server = server;
    this.actionId = actionId;
    this.response = response;
    this.oldest = oldest;
  }

  /**
   * The error in a reply. One that does not say whether the action was sent may have sent it.
   *
   * @param {{ message?: string, data?: any }} error
   */
  static of({ message, data }) {
    const { kind = "internal_error", sent = true, server, action_id: actionId, response, oldest } = data ?? {};
    return new AmidError(kind, message ?? kind, { sent, server, actionId, response, oldest });
  }
}
