<?php

declare(strict_types=1);

namespace Amid;

/**
 * Events that this subscriber did not get. They lie behind number `after` and not behind number `until` of `epoch`.
 *
 * `missed` is how many; null, and so is `until`, at the end of an old epoch, where it cannot be known. `event` is their
 * name, when only some names are subscribed.
 */
final class Gap
{
    public function __construct(
        public readonly string $server,
        public readonly int $epoch,
        public readonly int $after,
        public readonly ?int $until = null,
        public readonly ?int $missed = null,
        public readonly ?string $event = null,
    ) {
    }
}
