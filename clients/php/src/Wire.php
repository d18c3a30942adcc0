<?php

declare(strict_types=1);

namespace Amid;

/**
 * How values look on the socket: MessagePack. A PHP string is bytes: UTF-8 goes out as `str` and everything else as `bin`, and both
 * come back as strings. The extension packs every string as `str`, so requests, which are small, are packed here.
 */
final class Wire
{
    /** A map is an object, or an array that is no list. Throws "invalid_params" for what has no place in a request. */
    public static function pack(mixed $value): string
    {
        return match (true) {
            is_string($value) => self::packText($value),
            $value === null, is_bool($value), is_int($value), is_float($value) => msgpack_pack($value),
            is_array($value) && array_is_list($value) => self::packList($value),
            is_array($value) => self::packMap($value),
            $value instanceof \stdClass => self::packMap((array) $value),
            default => throw new AmidException('invalid_params', get_debug_type($value) . ' has no place in a request'),
        };
    }

    /**
     * A map is an array by name, and an empty one looks like an empty list. The extension's own mode tells the two apart, but makes
     * PHP objects of what asks for it: it is for data that one made oneself. Throws UnexpectedValueException for what is no MessagePack.
     */
    public static function unpack(string $data, bool $ownMode = false): mixed
    {
        $unpacker = new \MessagePackUnpacker($ownMode);
        $unpacker->feed($data);
        if (!$unpacker->execute()) {
            throw new \UnexpectedValueException('this is not MessagePack');
        }
        return $unpacker->data();
    }

    private static function packText(string $text): string
    {
        return self::head(mb_check_encoding($text, 'UTF-8') ? 0xdb : 0xc6, strlen($text)) . $text;
    }

    private static function packList(array $list): string
    {
        return self::head(0xdd, count($list)) . implode('', array_map(self::pack(...), $list));
    }

    /** A map's keys are text: PHP makes a number of one that reads like a number. */
    private static function packMap(array $map): string
    {
        $packed = self::head(0xdf, count($map));
        foreach ($map as $name => $value) {
            $packed .= self::packText((string) $name) . self::pack($value);
        }
        return $packed;
    }

    private static function head(int $form, int $size): string
    {
        return chr($form) . pack('N', $size);
    }
}
