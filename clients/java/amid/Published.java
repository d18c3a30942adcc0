package amid;

/** What a reader publishes: events, and ticks, which tell how many there were. */
public sealed interface Published permits Event, Tick {
    /** The server that it is from. */
    String server();

    /** The session with Asterisk; it only ever grows. */
    long epoch();

    /** The event's number in the epoch; of a tick, the last event's. */
    long seq();
}
