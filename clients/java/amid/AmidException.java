package amid;

/**
 * A call that failed.
 *
 * <p>{@link #wasSent} is the word that matters to a dialer. False: Asterisk never saw the action, and trying again is safe. True:
 * it may have been carried out, so a second try may be a second phone call.
 */
public final class AmidException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    private final String kind;
    private final boolean sent;
    private final transient Body data;

    AmidException(String kind, boolean sent, String message, Body data) {
        super(message);
        this.kind = kind;
        this.sent = sent;
        this.data = data;
    }

    AmidException(String kind, String message) {
        this(kind, false, message, Body.of(null));
    }

    /** The exception for the {@code error} of a reply. One that does not say whether it was sent may have been. */
    static AmidException of(Body error) {
        Body data = error.body("data");
        String kind = data.text("kind") == null ? "internal_error" : data.text("kind");
        return new AmidException(kind, !Boolean.FALSE.equals(data.get("sent")), error.text("message"), data);
    }

    static AmidException unreachable(String what) {
        return new AmidException("unreachable", what + ": start one with `amid run`, or name its directory with AMID_RUN_DIR");
    }

    /** A kind of the contract, or {@code unreachable} when there is no daemon. A later daemon may have new ones. */
    public String getKind() { return kind; }

    /** False when Asterisk certainly never saw the action; true when it may have carried it out. */
    public boolean wasSent() { return sent; }

    /** What else is known, where it is: {@code server}, {@code action_id}, and {@code response}, Asterisk's own packet. */
    public Body getData() { return data; }
}
