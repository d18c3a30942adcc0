package amid;

/** What a subscriber is given: an {@link Event}, or a {@link Gap} where events are missing. */
public sealed interface Item permits Event, Gap {
    /** The server that it is about. */
    String server();
}
