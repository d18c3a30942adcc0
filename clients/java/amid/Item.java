package amid;

/** What {@link Events} gives: an event, or a gap where events are missing; or a change of state. */
public sealed interface Item {
    String server();

    /**
     * One event. {@code epoch} is the session with Asterisk, and {@code seq} its number there, from 1; {@code prev} that of the event
     * of the same name before it, 0 for none; {@code time} when the daemon read it, in seconds since 1970.
     */
    record Event(String server, long epoch, long seq, long prev, double time, String event, Body fields) implements Item {
        static Event of(Body body) {
            double time = body.get("time") instanceof Number number ? number.doubleValue() : 0;
            return new Event(body.text("server"), body.number("epoch"), body.number("seq"), body.number("prev"), time,
                    body.text("event"), body.body("fields"));
        }
    }

    /**
     * Events behind number {@code after} of an epoch that the daemon no longer holds. {@code missed}: how many; null when the epoch
     * ended, since what came behind its last event cannot be known.
     */
    record Gap(String server, long epoch, long after, Long missed) implements Item {}

    /**
     * A change of a thing: {@code set} has the members with new values, or it is {@code gone}. The first one, and the first one after a
     * loss of changes, has the kind {@code reset} and the whole {@code state} instead.
     */
    record Change(String server, String kind, String id, Body set, boolean gone, Body state) implements Item {
        static Change of(Body body) {
            boolean gone = body.get("gone") != null;
            return new Change(body.text("server"), body.text("kind"), body.text("id"), body.body("set"), gone, body.body("state"));
        }
    }
}
