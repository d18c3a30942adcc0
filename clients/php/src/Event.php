<?php

declare(strict_types=1);

namespace Amid;

/**
 * An event of Asterisk's, or one of amid's own, whose name begins with `amid:`.
 *
 * `epoch` is the event session, `seq` the event's number within it, from 1, `nth` its number among the events of its
 * name; `time` is when the daemon read it, in seconds since 1970. `fields` has every header but `Event`: text, or a list
 * of texts for a header that is repeated. Text that is not UTF-8 comes as the bytes that it is.
 */
final class Event
{
    public function __construct(
        public readonly string $server,
        public readonly int $epoch,
        public readonly int $seq,
        public readonly int $nth,
        public readonly float $time,
        public readonly string $event,
        public readonly array $fields,
    ) {
    }

    /** The event in a body, as it was published or as `replay` gives it. Members that are not known are left alone. */
    public static function of(array $body): self
    {
        return new self(
            $body['server'],
            $body['epoch'],
            $body['seq'],
            $body['nth'],
            (float) ($body['time'] ?? 0),
            $body['event'],
            $body['fields'] ?? [],
        );
    }
}
