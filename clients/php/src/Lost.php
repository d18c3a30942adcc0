<?php

declare(strict_types=1);

namespace Amid;

/** Numbers that are to be fetched: behind `after` and not behind `until`; null is to the epoch's end. */
final class Lost
{
    public function __construct(
        public readonly string $server,
        public readonly int $epoch,
        public int $after,
        public ?int $until,
        public int $tries,
    ) {
    }

    public function isWhole(): bool
    {
        return $this->until !== null && $this->after >= $this->until;
    }

    public function holds(int $seq): bool
    {
        return $seq > $this->after && ($this->until === null || $seq <= $this->until);
    }

    /** Hold this gap too. */
    public function widen(Gap $gap): void
    {
        $this->after = min($this->after, $gap->after);
        $this->until = $this->until === null || $gap->until === null ? null : max($this->until, $gap->until);
    }
}
