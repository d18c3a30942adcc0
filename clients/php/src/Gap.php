<?php

declare(strict_types=1);

namespace Amid;

/** Events that are missing: `missed` of them behind number `after` of `epoch`; null where the epoch ended: nobody knows. */
final class Gap
{
    public function __construct(
        public readonly string $server,
        public readonly int $epoch,
        public readonly int $after,
        public readonly ?int $missed,
    ) {}
}
