package amid;

import java.util.Collections;
import java.util.List;
import java.util.Map;

/**
 * A packet of Asterisk: header name to value, in the order in which they came.
 *
 * @param headers the name is text, or {@link Bytes} where it is not UTF-8; the value is one of the two, or a {@link List} of them
 *     for a header that occurs more than once
 */
public record Packet(Map<Object, Object> headers) {
    /** One without headers. */
    public static final Packet EMPTY = new Packet(Map.of());

    public Packet {
        headers = Collections.unmodifiableMap(headers);
    }

    /** The value of a header as it came, or null when there is none. */
    public Object get(Object name) {
        return headers.get(name);
    }

    /** The value of a header as text, the first when there are several, and "" when there is none. */
    public String text(Object name) {
        List<Object> values = all(name);
        return values.isEmpty() ? "" : readable(values.get(0));
    }

    /** All values of a header, as they came. */
    public List<Object> all(Object name) {
        Object value = headers.get(name);
        if (value instanceof List<?> several) {
            return Collections.unmodifiableList(several);
        }
        return value == null ? List.of() : List.of(value);
    }

    private static String readable(Object value) {
        return value instanceof Bytes bytes ? bytes.readable() : value.toString();
    }
}
