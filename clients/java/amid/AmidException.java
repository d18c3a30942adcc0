package amid;

import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;

/**
 * A call that did not end well.
 *
 * <p>{@link #wasSent} is the word that matters to a dialer. False: Asterisk never saw the action, and trying again is safe. True:
 * it may have been carried out, so a second try may be a second phone call.
 */
public final class AmidException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    private final String kind;
    private final boolean sent;
    private final String server;
    private final String actionId;
    private final transient Packet response;
    private final Long oldest;

    AmidException(String kind, boolean sent, String message) {
        this(kind, sent, message, null);
    }

    AmidException(String kind, boolean sent, String message, String server) {
        this(kind, sent, message, server, null, null, null);
    }

    private AmidException(
            String kind, boolean sent, String message, String server, String actionId, Packet response, Long oldest) {
        super(message);
        this.kind = kind;
        this.sent = sent;
        this.server = server;
        this.actionId = actionId;
        this.response = response;
        this.oldest = oldest;
    }

    /** The exception for the {@code error} of a reply. One that does not say whether it was sent may have been. */
    static AmidException of(Body error) {
        Body data = error.has("data") ? error.body("data") : new Body(Map.of());
        String kind = data.has("kind") ? data.text("kind") : "internal_error";
        return new AmidException(
                kind,
                !data.has("sent") || data.flag("sent"),
                error.has("message") ? error.text("message") : kind,
                data.text("server"),
                data.text("action_id"),
                data.packet("response"),
                data.has("oldest") ? data.number("oldest") : null);
    }

    static AmidException unreachable(String what) {
        return new AmidException(
                "unreachable", false, what + ": start one with `amid run`, or name its directory with AMID_RUN_DIR");
    }

    /**
     * What happened: a kind of the contract, such as {@code action_failed} or {@code timeout}, or {@code unreachable} when no
     * daemon could be talked to. A later daemon may have kinds that are not known here: go by {@link #wasSent} then.
     */
    public String getKind() {
        return kind;
    }

    /** False when Asterisk certainly never saw the action; true when it may have carried it out. */
    public boolean wasSent() {
        return sent;
    }

    /** The server, when it is known. */
    public Optional<String> getServer() {
        return Optional.ofNullable(server);
    }

    /** The ActionID as Asterisk saw it, when it is known. */
    public Optional<String> getActionId() {
        return Optional.ofNullable(actionId);
    }

    /** Asterisk's own packet: with {@code action_failed}, and with {@code timeout} when only the event to wait for was missing. */
    public Optional<Packet> getResponse() {
        return Optional.ofNullable(response);
    }

    /** With {@code gone}: the first number of that epoch that {@code replay} still has, when there is one. */
    public OptionalLong getOldest() {
        return oldest == null ? OptionalLong.empty() : OptionalLong.of(oldest);
    }
}
