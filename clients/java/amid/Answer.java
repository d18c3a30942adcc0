package amid;

import java.time.Duration;
import java.util.List;

/**
 * The whole answer to an action.
 *
 * @param server the server that carried it out
 * @param actionId the ActionID as Asterisk saw it
 * @param response Asterisk's response
 * @param events the items of a list
 * @param complete the event that closes the list, or null
 * @param output the lines of a Command, text or {@link Bytes}
 * @param until the event that was waited for, or null when none was
 * @param elapsed how long it took, as the daemon saw it
 */
public record Answer(
        String server,
        String actionId,
        Packet response,
        List<Packet> events,
        Packet complete,
        List<Object> output,
        Packet until,
        Duration elapsed) {
    static Answer of(Body result) {
        return new Answer(
                result.text("server"),
                result.text("action_id"),
                result.packet("response"),
                result.packets("events"),
                result.packet("complete"),
                result.list("output"),
                result.packet("until"),
                result.duration("elapsed"));
    }
}
