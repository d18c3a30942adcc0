<?php

declare(strict_types=1);

namespace Amid;

/**
 * Which lost events to fetch once more, and when to stop asking. It knows no socket: it stands between `Gaps`, which sees
 * a loss, and `Client::replay`.
 *
 * A gap becomes a range of numbers. It is asked for page by page, until it is whole or the daemon does not hold the rest.
 * Where the daemon holds only the end of a range, it says which number is the oldest, and the asking goes on from there.
 */
final class Recovery
{
    public const PAGE = 1000;
    /** How often a page is asked for when it is refused for now. */
    public const TRIES = 8;
    /** Seconds between two such tries. */
    public const PAUSE = 0.5;
    /** Errors that come at once and may be over in a moment: the reader or the broker may just have been replaced. */
    private const FOR_NOW = ['not_connected', 'busy', 'unreachable'];

    /** Seconds to wait before `ask` is asked. */
    public float $pause = 0.0;
    /** @var list<Lost> */
    private array $ranges = [];

    /** @return ?array{server: string, epoch: int, after: int, limit: int} for `replay`; null when nothing is missing */
    public function ask(): ?array
    {
        $first = $this->ranges[0] ?? null;

        return $first === null
            ? null
            : ['server' => $first->server, 'epoch' => $first->epoch, 'after' => $first->after, 'limit' => self::PAGE];
    }

    /**
     * Gaps in several names of one epoch are one range, so that their events come in order.
     *
     * @param list<Gap> $gaps
     */
    public function recover(array $gaps): void
    {
        foreach ($gaps as $gap) {
            $last = end($this->ranges);
            if ($last !== false && $last->server === $gap->server && $last->epoch === $gap->epoch) {
                $last->widen($gap);
            } else {
                $this->ranges[] = new Lost($gap->server, $gap->epoch, $gap->after, $gap->until, self::TRIES);
            }
        }
    }

    /**
     * @param list<Event> $events what came of `ask`
     * @return list<Event> those that lie in the range
     */
    public function page(array $events, bool $more): array
    {
        $range = $this->ranges[0];
        $wanted = array_values(array_filter($events, fn (Event $event): bool => $range->holds($event->seq)));
        if ($wanted !== []) {
            $range->after = end($wanted)->seq;
        }
        $this->pause = 0.0;
        if (!$more || $wanted === [] || $range->isWhole()) {
            array_shift($this->ranges);
        }

        return $wanted;
    }

    /** Nothing came of `ask`. */
    public function refused(AmidException $error): void
    {
        $range = $this->ranges[0];
        $this->pause = in_array($error->kind, self::FOR_NOW, true) ? self::PAUSE : 0.0;
        if ($error->oldest !== null && $error->oldest > $range->after + 1 && $range->holds($error->oldest)) {
            $range->after = $error->oldest - 1;
            $range->tries = self::TRIES;

            return;
        }
        $range->tries -= self::cost($error);
        if ($range->tries <= 0) {
            array_shift($this->ranges);
        }
    }

    /** How many of its tries an error takes: a timeout may come twice, what would never change once. */
    private static function cost(AmidException $error): int
    {
        return match (true) {
            in_array($error->kind, self::FOR_NOW, true) => 1,
            $error->kind === 'timeout' => intdiv(self::TRIES, 2),
            default => self::TRIES,
        };
    }
}
