<?php

declare(strict_types=1);

namespace Amid;

/**
 * How values and event messages look on the sockets: MessagePack.
 *
 * A PHP string is bytes. What is UTF-8 goes out as `str` and everything else as `bin`; both come back as strings. The
 * extension packs every string as `str`, so requests, which are small, are packed here; what comes is unpacked by the
 * extension.
 */
final class Wire
{
    /**
     * @param mixed $value null, a boolean, number or string, a list, or a map: an object, or an array that is no list
     * @throws AmidException of kind "invalid_params" for anything else
     */
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
     * The value in MessagePack bytes.
     *
     * A map is an array by name, and an empty one looks like an empty list. The extension's own mode tells the two apart,
     * but makes PHP objects of what asks for it: it is for data that one made oneself.
     *
     * @throws \UnexpectedValueException when it is not MessagePack
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

    /** An event or a tick. */
    public static function message(array $body): Event|Tick
    {
        return $body['event'] === Tick::NAME ? Tick::of($body) : Event::of($body);
    }

    private static function packText(string $text): string
    {
        $size = strlen($text);
        if (mb_check_encoding($text, 'UTF-8')) {
            return self::head($size, [[0x1f, 0xa0, ''], [0xff, 0xd9, 'C'], [0xffff, 0xda, 'n'], [0xffffffff, 0xdb, 'N']]) . $text;
        }

        return self::head($size, [[0xff, 0xc4, 'C'], [0xffff, 0xc5, 'n'], [0xffffffff, 0xc6, 'N']]) . $text;
    }

    private static function packList(array $list): string
    {
        $forms = [[0x0f, 0x90, ''], [0xffff, 0xdc, 'n'], [0xffffffff, 0xdd, 'N']];

        return self::head(count($list), $forms) . implode('', array_map(self::pack(...), $list));
    }

    /** A map's keys are text: PHP makes a number of one that reads like a number. */
    private static function packMap(array $map): string
    {
        $packed = self::head(count($map), [[0x0f, 0x80, ''], [0xffff, 0xde, 'n'], [0xffffffff, 0xdf, 'N']]);
        foreach ($map as $name => $value) {
            $packed .= self::packText((string) $name) . self::pack($value);
        }

        return $packed;
    }

    /** The first of the specification's forms that this size fits: the largest size, the first byte, the form of the size. */
    private static function head(int $size, array $forms): string
    {
        foreach ($forms as [$largest, $first, $form]) {
            if ($size <= $largest) {
                return $form === '' ? chr($first | $size) : chr($first) . pack($form, $size);
            }
        }
        throw new AmidException('invalid_params', "a value of {$size} bytes or items is too large for a request");
    }
}
