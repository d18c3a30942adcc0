package amid;

import java.time.Duration;
import java.util.Objects;

/**
 * Where an action goes, how long it may take, and what to wait for: {@code Options.DEFAULT.withServer("pbx1")}.
 *
 * @param server the server; null when there is only one
 * @param timeout how long the action may take, at most an hour
 * @param until the name of a later event with this ActionID to wait for as well, such as {@code OriginateResponse}; else null
 */
public record Options(String server, Duration timeout, String until) {
    /** The only server, five seconds, and no event to wait for. */
    public static final Options DEFAULT = new Options(null, Client.TIMEOUT, null);

    public Options {
        Objects.requireNonNull(timeout, "timeout");
    }

    public Options withServer(String server) {
        return new Options(server, timeout, until);
    }

    public Options withTimeout(Duration timeout) {
        return new Options(server, timeout, until);
    }

    public Options withUntil(String event) {
        return new Options(server, timeout, event);
    }
}
