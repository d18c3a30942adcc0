package amid;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HexFormat;

/**
 * Bytes that are not text: a MessagePack {@code bin}, as Asterisk's answers have it where they are not UTF-8.
 *
 * <p>A class of its own, because an array is equal to nothing but itself and so cannot be the key of a map.
 */
public record Bytes(byte[] value) {
    public Bytes {
        value = value.clone();
    }

    /** These bytes, of which the array is the caller's own. */
    @Override
    public byte[] value() {
        return value.clone();
    }

    /** What can be read of them as UTF-8, for a log; the rest is U+FFFD. */
    public String readable() {
        return new String(value, StandardCharsets.UTF_8);
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof Bytes bytes && Arrays.equals(value, bytes.value);
    }

    @Override
    public int hashCode() {
        return Arrays.hashCode(value);
    }

    @Override
    public String toString() {
        return "Bytes[" + HexFormat.of().formatHex(value) + "]";
    }
}
