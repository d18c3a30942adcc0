package amid;

import java.time.Instant;

/**
 * One event.
 *
 * @param server the server that it came from
 * @param epoch the session with Asterisk; it only ever grows
 * @param seq the event's number in the epoch, from 1
 * @param nth its number among the events of its name in the epoch, from 1
 * @param time when the daemon read it
 * @param event its name
 * @param fields every header but {@code Event}
 */
public record Event(String server, long epoch, long seq, long nth, Instant time, String event, Packet fields)
        implements Item, Published {
    /** The value of a header as text, the first when there are several, and "" when there is none. */
    public String text(String header) {
        return fields.text(header);
    }

    /** The event in a body, as it was published or as {@code replay} gives it. */
    static Event of(Body body) {
        return new Event(
                body.text("server"),
                body.number("epoch"),
                body.number("seq"),
                body.number("nth"),
                body.instant("time"),
                body.text("event"),
                body.packet("fields"));
    }
}
