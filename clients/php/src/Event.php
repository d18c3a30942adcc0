<?php

declare(strict_types=1);

namespace Amid;

/**
 * An event of Asterisk, or one of amid, whose name begins with `amid:`.
 *
 * `epoch` is the event session, `seq` the event's number within it, `prev` that of the event of the same name before it;
 * `time` is when the daemon read it, in seconds since 1970. `fields` has every header but `Event`: text, or a list of texts
 * for a header that is repeated. Text that is not UTF-8 comes as the bytes that it is.
 */
final class Event
{
    public function __construct(
        public readonly string $server,
        public readonly int $epoch,
        public readonly int $seq,
        public readonly int $prev,
        public readonly float $time,
        public readonly string $event,
        public readonly array $fields,
    ) {}

    /** The event in a body. */
    public static function of(array $body): self
    {
        return new self(...array_intersect_key($body, get_class_vars(self::class)));
    }
}
