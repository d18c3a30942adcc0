<?php

declare(strict_types=1);

namespace Amid;

/** Once a second: everything up to number `seq` has been published. `counts` has the last nth of each name. */
final class Tick
{
    public const NAME = 'amid:tick';

    /** @param array<string, int> $counts */
    public function __construct(
        public readonly string $server,
        public readonly int $epoch,
        public readonly int $seq,
        public readonly array $counts,
    ) {
    }

    public static function of(array $body): self
    {
        return new self($body['server'], $body['epoch'], $body['seq'], $body['counts'] ?? []);
    }
}
