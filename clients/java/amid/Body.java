package amid;

import java.time.Duration;
import java.time.Instant;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/**
 * A map of the wire, whose members have the types that the contract gives them. Members that it does not know are not looked at;
 * one that may be absent is null.
 */
record Body(Map<Object, Object> members) {
    private static final double NANOS_PER_SECOND = 1e9;

    /** The body in an unpacked value. Throws ClassCastException when that is no map. */
    @SuppressWarnings("unchecked") // keys and values are Object: any map will do
    static Body of(Object value) {
        return new Body((Map<Object, Object>) value);
    }

    boolean has(String name) {
        return members.get(name) != null;
    }

    Object get(String name) {
        return members.get(name);
    }

    String text(String name) {
        Object value = members.get(name);
        return value instanceof Bytes bytes ? bytes.readable() : (String) value;
    }

    long number(String name) {
        return ((Number) members.get(name)).longValue();
    }

    boolean flag(String name) {
        return (Boolean) members.get(name);
    }

    /** A number of seconds. */
    Duration duration(String name) {
        return Duration.ofNanos(Math.round(((Number) members.get(name)).doubleValue() * NANOS_PER_SECOND));
    }

    /** A number of seconds since 1970. */
    Instant instant(String name) {
        double seconds = ((Number) members.get(name)).doubleValue();
        long whole = (long) Math.floor(seconds);
        return Instant.ofEpochSecond(whole, Math.round((seconds - whole) * NANOS_PER_SECOND));
    }

    Body body(String name) {
        return of(members.get(name));
    }

    Packet packet(String name) {
        return has(name) ? new Packet(body(name).members) : null;
    }

    List<Packet> packets(String name) {
        return bodies(name).map(body -> new Packet(body.members)).toList();
    }

    Stream<Body> bodies(String name) {
        return list(name).stream().map(Body::of);
    }

    @SuppressWarnings("unchecked") // the items are Object: any list will do
    List<Object> list(String name) {
        return (List<Object>) members.get(name);
    }

    Map<String, Long> counts(String name) {
        Map<String, Long> counts = new HashMap<>();
        body(name).members.forEach((event, count) -> counts.put(event.toString(), ((Number) count).longValue()));
        return counts;
    }
}
