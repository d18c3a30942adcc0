package amid;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.Map;
import org.msgpack.core.MessageBufferPacker;
import org.msgpack.core.MessagePack;
import org.msgpack.core.MessageStringCodingException;
import org.msgpack.core.MessageUnpacker;
import org.msgpack.value.StringValue;
import org.msgpack.value.Value;
import org.msgpack.value.ValueFactory;

/** MessagePack, with values as {@link Body} has them. A value that cannot be encoded exactly is an error. */
public final class Wire {
    private Wire() {}

    /** The MessagePack of a value. Throws {@link AmidException} of kind {@code invalid_params} for one that MessagePack has no place for. */
    public static byte[] pack(Object value) {
        try (MessageBufferPacker packer = MessagePack.newDefaultBufferPacker()) {
            packer.packValue(encode(value));
            return packer.toByteArray();
        } catch (IOException impossible) { // it is in memory
            throw new IllegalStateException(impossible);
        }
    }

    /** The value in MessagePack; null when it is none. A {@code str} that is not UTF-8 becomes {@code byte[]}. */
    public static Object unpack(byte[] packed) {
        try (MessageUnpacker unpacker = MessagePack.newDefaultUnpacker(packed)) {
            return decode(unpacker.unpackValue());
        } catch (IOException | RuntimeException notMessagePack) { // the library has a family of the latter, all about the bytes
            return null;
        }
    }

    private static Value encode(Object value) {
        if (value == null) {
            return ValueFactory.newNil();
        } else if (value instanceof Map<?, ?> map) {
            Map<Value, Value> encoded = new LinkedHashMap<>();
            map.forEach((key, member) -> encoded.put(encode(key), encode(member)));
            return ValueFactory.newMap(encoded);
        } else if (value instanceof Collection<?> items) {
            return ValueFactory.newArray(items.stream().map(Wire::encode).toList());
        } else if (value instanceof String text && StandardCharsets.UTF_8.newEncoder().canEncode(text)) {
            return ValueFactory.newString(text);
        } else if (value instanceof byte[] bytes) {
            return ValueFactory.newBinary(bytes);
        } else if (value instanceof Boolean flag) {
            return ValueFactory.newBoolean(flag);
        } else if (value instanceof Double || value instanceof Float) {
            return ValueFactory.newFloat(((Number) value).doubleValue());
        } else if (value instanceof Long || value instanceof Integer || value instanceof Short || value instanceof Byte) {
            return ValueFactory.newInteger(((Number) value).longValue());
        }
        String what = value instanceof String ? "text with a lone surrogate" : value.getClass().getName();
        throw new AmidException("invalid_params", what + " has no place in a request");
    }

    private static Object decode(Value value) {
        return switch (value.getValueType()) {
            case NIL -> null;
            case BOOLEAN -> value.asBooleanValue().getBoolean();
            case INTEGER -> value.asIntegerValue().asLong();
            case FLOAT -> value.asFloatValue().toDouble();
            case STRING -> decodeText(value.asStringValue());
            case BINARY -> value.asBinaryValue().asByteArray();
            case ARRAY -> value.asArrayValue().list().stream().map(Wire::decode).toList();
            case MAP -> {
                Map<Object, Object> map = new LinkedHashMap<>();
                value.asMapValue().entrySet().forEach(entry -> map.put(decode(entry.getKey()), decode(entry.getValue())));
                yield map;
            }
            case EXTENSION -> throw new IllegalArgumentException("amid has no extension types");
        };
    }

    private static Object decodeText(StringValue text) {
        try {
            return text.asString();
        } catch (MessageStringCodingException notUtf8) {
            return text.asByteArray();
        }
    }
}
