package amid;

import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;

/**
 * A map of the wire: a result, an event's fields, or a packet of Asterisk, whose headers are in the order in which they came.
 *
 * @param members text, or {@code byte[]} where it is not UTF-8, to text, {@code byte[]}, {@link Long}, {@link Double}, {@link
 *     Boolean}, a map, null, or a {@link List} of them, such as the values of a header that occurs more than once
 */
public record Body(Map<Object, Object> members) {
    /** The body in an unpacked value; empty when that is no map. */
    @SuppressWarnings("unchecked") // keys and values are Object: any map will do
    static Body of(Object value) { return new Body(value instanceof Map<?, ?> map ? (Map<Object, Object>) map : Map.of()); }

    /** A value as it came, or null when there is none. */
    public Object get(String name) { return members.get(name); }

    /** A value as text, the first when there are several, and null when there is none. */
    public String text(String name) {
        Object value = get(name) instanceof List<?> several ? several.get(0) : get(name);
        return value instanceof byte[] bytes ? new String(bytes, StandardCharsets.UTF_8) : value == null ? null : value.toString();
    }

    /** A number, 0 when there is none. */
    public long number(String name) { return get(name) instanceof Number number ? number.longValue() : 0; }

    /** A map, empty when there is none. */
    public Body body(String name) { return of(get(name)); }

    /** A list of maps, such as the {@code events} of an answer; empty when there is none. */
    public List<Body> bodies(String name) { return listOf(get(name)); }

    static List<Body> listOf(Object value) {
        return value instanceof List<?> list ? list.stream().map(Body::of).toList() : List.of();
    }
}
