package amid;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.msgpack.core.MessageBufferPacker;
import org.msgpack.core.MessagePack;
import org.msgpack.core.MessagePacker;
import org.msgpack.core.MessageUnpacker;

/**
 * MessagePack, in Java's own types: {@link Map}, {@link List}, {@link String}, {@link Bytes}, {@link Long}, {@link Double},
 * {@link Boolean} and null. Nothing is replaced on the way: what cannot be said exactly is an error.
 */
public final class Wire {
    /** Levels of maps and lists. The daemon takes 32; a value that contains itself has no end. */
    private static final int DEEPEST = 100;

    private Wire() {}

    /**
     * The MessagePack of a value. Other kinds of number, {@code byte[]} and any {@link Collection} are taken as well.
     *
     * @throws IllegalArgumentException for a value that MessagePack has no place for
     */
    public static byte[] pack(Object value) {
        try (MessageBufferPacker packer = MessagePack.newDefaultBufferPacker()) {
            pack(packer, value, 0);
            return packer.toByteArray();
        } catch (IOException impossible) { // it is in memory
            throw new UncheckedIOException(impossible);
        }
    }

    /**
     * The value in MessagePack. A {@code str} that is not UTF-8 becomes {@link Bytes}.
     *
     * @throws IllegalArgumentException when it is not MessagePack
     */
    public static Object unpack(byte[] packed) {
        try (MessageUnpacker unpacker = MessagePack.newDefaultUnpacker(packed)) {
            return unpack(unpacker);
        } catch (IOException | RuntimeException error) { // the library has a family of the latter, all about the bytes
            throw new IllegalArgumentException("not MessagePack: " + error.getMessage(), error);
        }
    }

    private static void pack(MessagePacker packer, Object value, int depth) throws IOException {
        if (depth > DEEPEST) {
            throw new IllegalArgumentException("it is nested too deep");
        }
        if (value == null) {
            packer.packNil();
        } else if (value instanceof Map<?, ?> map) {
            packMap(packer, map, depth);
        } else if (value instanceof Collection<?> items) {
            packList(packer, items, depth);
        } else {
            packScalar(packer, value);
        }
    }

    private static void packMap(MessagePacker packer, Map<?, ?> map, int depth) throws IOException {
        packer.packMapHeader(map.size());
        for (Map.Entry<?, ?> entry : map.entrySet()) {
            pack(packer, entry.getKey(), depth + 1);
            pack(packer, entry.getValue(), depth + 1);
        }
    }

    private static void packList(MessagePacker packer, Collection<?> items, int depth) throws IOException {
        packer.packArrayHeader(items.size());
        for (Object item : items) {
            pack(packer, item, depth + 1);
        }
    }

    private static void packScalar(MessagePacker packer, Object value) throws IOException {
        if (value instanceof String text) {
            packText(packer, text);
        } else if (value instanceof Bytes bytes) {
            packBytes(packer, bytes.value());
        } else if (value instanceof byte[] bytes) {
            packBytes(packer, bytes);
        } else if (value instanceof Boolean flag) {
            packer.packBoolean(flag);
        } else if (value instanceof Number number) {
            packNumber(packer, number);
        } else {
            throw new IllegalArgumentException(value.getClass().getName() + " has no place in MessagePack");
        }
    }

    /** The library would put a question mark in the place of a lone surrogate. */
    private static void packText(MessagePacker packer, String text) throws IOException {
        ByteBuffer encoded;
        try {
            encoded = StandardCharsets.UTF_8.newEncoder().encode(CharBuffer.wrap(text));
        } catch (CharacterCodingException loneSurrogate) {
            throw new IllegalArgumentException("text has a lone surrogate; bytes that are no text go as Bytes", loneSurrogate);
        }
        packer.packRawStringHeader(encoded.remaining());
        packer.writePayload(encoded.array(), 0, encoded.remaining());
    }

    private static void packBytes(MessagePacker packer, byte[] bytes) throws IOException {
        packer.packBinaryHeader(bytes.length);
        packer.writePayload(bytes);
    }

    private static void packNumber(MessagePacker packer, Number number) throws IOException {
        if (number instanceof Double || number instanceof Float) {
            packer.packDouble(number.doubleValue());
        } else if (number instanceof BigInteger integer) {
            packer.packBigInteger(integer);
        } else if (number instanceof Long || number instanceof Integer || number instanceof Short || number instanceof Byte) {
            packer.packLong(number.longValue());
        } else {
            throw new IllegalArgumentException(number.getClass().getName() + " has no place in MessagePack");
        }
    }

    private static Object unpack(MessageUnpacker unpacker) throws IOException {
        return switch (unpacker.getNextFormat().getValueType()) {
            case NIL -> {
                unpacker.unpackNil();
                yield null;
            }
            case BOOLEAN -> unpacker.unpackBoolean();
            case INTEGER -> unpacker.unpackLong();
            case FLOAT -> unpacker.unpackDouble();
            case STRING -> text(unpacker.readPayload(unpacker.unpackRawStringHeader()));
            case BINARY -> new Bytes(unpacker.readPayload(unpacker.unpackBinaryHeader()));
            case ARRAY -> unpackList(unpacker);
            case MAP -> unpackMap(unpacker);
            case EXTENSION -> throw new IllegalArgumentException("amid has no extension types");
        };
    }

    private static List<Object> unpackList(MessageUnpacker unpacker) throws IOException {
        int size = unpacker.unpackArrayHeader();
        List<Object> items = new ArrayList<>();
        for (int i = 0; i < size; i++) {
            items.add(unpack(unpacker));
        }
        return items;
    }

    private static Map<Object, Object> unpackMap(MessageUnpacker unpacker) throws IOException {
        int size = unpacker.unpackMapHeader();
        Map<Object, Object> map = new LinkedHashMap<>();
        for (int i = 0; i < size; i++) {
            map.put(unpack(unpacker), unpack(unpacker));
        }
        return map;
    }

    private static Object text(byte[] encoded) {
        try {
            return StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(encoded)).toString();
        } catch (CharacterCodingException notUtf8) {
            return new Bytes(encoded);
        }
    }
}
