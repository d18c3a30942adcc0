package amid;

import java.util.Map;

/**
 * What a reader says once a second, so that a loss shows although nothing comes behind it.
 *
 * @param server the server that it is from
 * @param epoch the session with Asterisk
 * @param seq the number of the last event in the epoch
 * @param counts event name to the last {@code nth} of that name
 */
public record Tick(String server, long epoch, long seq, Map<String, Long> counts) implements Published {
    /** The {@code event} of a body that is a tick. */
    public static final String NAME = "amid:tick";

    static Tick of(Body body) {
        return new Tick(body.text("server"), body.number("epoch"), body.number("seq"), body.counts("counts"));
    }
}
