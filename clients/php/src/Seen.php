<?php

declare(strict_types=1);

namespace Amid;

/** What a subscriber remembers of one server: the numbers that it has seen. */
final class Seen
{
    private readonly int $base;
    private readonly bool $counted;
    /** @var array<string, int> */
    private array $nths;
    /** @var array<string, int> */
    private array $seqs = [];

    /** @param ?array<string, int> $counts the last nth of each name; null is unknown */
    public function __construct(public readonly int $epoch, public int $seq, ?array $counts = null)
    {
        $this->base = $seq;
        $this->counted = $counts !== null;
        $this->nths = $counts ?? [];
    }

    /** An epoch that began before our eyes: nothing of it has been seen, and all of it counts. */
    public static function begun(int $epoch): self
    {
        return new self($epoch, 0, []);
    }

    public function take(Event $event): void
    {
        $this->seq = max($this->seq, $event->seq);
        $this->seqs[$event->event] = $event->seq;
        $this->nths[$event->event] = $event->nth;
    }

    /** The last nth of this name. `otherwise` is for a name whose count is not known. */
    public function nth(string $name, int $otherwise): int
    {
        return $this->nths[$name] ?? ($this->counted ? 0 : $otherwise);
    }

    /** Behind which number the next event of this name comes; those of other names may have come since. */
    public function after(string $name): int
    {
        return $this->seqs[$name] ?? $this->base;
    }

    /** Whether it has this tick already. */
    public function isBeyond(Tick $tick): bool
    {
        return [$tick->epoch, $tick->seq] < [$this->epoch, $this->seq];
    }
}
