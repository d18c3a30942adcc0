package amid;

import java.time.Duration;
import java.util.Map;
import java.util.Set;

/**
 * A call before it has an id.
 *
 * @param patience how long to wait for its answer
 * @param acts whether it may change something
 */
record Call(String method, Map<String, Object> params, Duration patience, boolean acts) {
    /** How much later than its timeout an answer may come, for the way to the broker and back. */
    private static final Duration MARGIN = Duration.ofSeconds(1);

    /** The longest timeout that the daemon accepts. */
    private static final Duration LONGEST = Duration.ofHours(1);

    /** The methods that change nothing. What a later daemon's do cannot be known. */
    private static final Set<String> ASKING = Set.of("servers", "status", "actions", "replay", "ping");

    static Call of(String method, Map<String, Object> params, Duration timeout) {
        return new Call(method, params, patience(timeout), !ASKING.contains(method));
    }

    /** The server that it names, or null. */
    String server() {
        return params.get("server") instanceof String server ? server : null;
    }

    /** In words. */
    String what() {
        return params.containsKey("action") ? method + " " + params.get("action") : method;
    }

    /** A timeout that the daemon will refuse is refused soon, so its answer is worth waiting for. */
    private static Duration patience(Duration timeout) {
        boolean sound = timeout.compareTo(Duration.ZERO) > 0 && timeout.compareTo(LONGEST) <= 0;
        return (sound ? timeout : Client.TIMEOUT).plus(MARGIN);
    }
}
