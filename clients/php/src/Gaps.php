<?php

declare(strict_types=1);

namespace Amid;

/**
 * The rule that finds lost events by their numbers, so that no loss is silent. It knows no socket.
 *
 * `epoch` changes with each event session and only grows; `seq` counts a server's events within an epoch; `nth` counts
 * them per name, so that a subscriber to some names, who sees holes in `seq` by design, can check too. A tick states the
 * last of each, so that loss at the end of a quiet stream shows.
 *
 * Give `event` each event and `tick` each tick, in the order they come. `before` tells the same and takes nothing, for a
 * subscriber that fetches what it missed before it goes on.
 */
final class Gaps
{
    /** @var array<string, Seen> by server */
    private array $seen = [];
    /** @var ?list<string> */
    private readonly ?array $names;

    /** @param ?array<string> $names the event names subscribed to; null is all of them */
    public function __construct(?array $names = null)
    {
        if ($names !== null) {
            sort($names);
        }
        $this->names = $names;
    }

    /** @return array{bool, list<Gap>} whether the event is new, and the gaps before it */
    public function event(Event $event): array
    {
        $seen = $this->seen[$event->server] ?? null;
        if ($seen !== null && !$this->isFresh($event, $seen)) {
            return [false, []];
        }
        $gaps = $this->beforeEvent($event);
        $this->session($event)->take($event);

        return [true, $gaps];
    }

    /**
     * Everything up to a tick's seq has been published, so it replaces all that is remembered of its server.
     *
     * @return list<Gap> what it shows to be missing
     */
    public function tick(Tick $tick): array
    {
        $gaps = $this->beforeTick($tick);
        $seen = $this->seen[$tick->server] ?? null;
        if ($seen === null || !$seen->isBeyond($tick)) {
            $this->seen[$tick->server] = new Seen($tick->epoch, $tick->seq, $tick->counts);
        }

        return $gaps;
    }

    /** @return list<Gap> what this message, when it is the next to be taken, shows to be missing */
    public function before(Event|Tick $message): array
    {
        return $message instanceof Tick ? $this->beforeTick($message) : $this->beforeEvent($message);
    }

    /** With names only: the gap from where nothing of any name is missing. What was lost of the others lies there too. */
    public function widened(Gap $gap): Gap
    {
        $seen = $this->seen[$gap->server] ?? null;
        if ($this->names === null || $seen === null || $seen->epoch !== $gap->epoch) {
            return $gap;
        }
        $after = min(array_map($seen->after(...), $this->names));

        return new Gap($gap->server, $gap->epoch, $after, $gap->until, $gap->missed, $gap->event);
    }

    /** With names only, each name is a stream of its own: of one a lost event may be fetched when another's has come. */
    private function isFresh(Event $event, Seen $seen): bool
    {
        if ($event->epoch !== $seen->epoch) {
            return $event->epoch > $seen->epoch;
        }

        return $event->seq > ($this->names === null ? $seen->seq : $seen->after($event->event));
    }

    /** What is remembered of the epoch of an event that is new. */
    private function session(Event $event): Seen
    {
        $seen = $this->seen[$event->server] ?? null;
        if ($seen === null) {
            $seen = new Seen($event->epoch, $event->seq);
        } elseif ($seen->epoch !== $event->epoch) {
            $seen = Seen::begun($event->epoch);
        }

        return $this->seen[$event->server] = $seen;
    }

    /** @return list<Gap> */
    private function beforeEvent(Event $event): array
    {
        $seen = $this->seen[$event->server] ?? null;
        if ($seen === null || !$this->isFresh($event, $seen)) {
            return [];
        }
        if ($event->epoch === $seen->epoch) {
            return $this->lostBeforeEvent($event, $seen);
        }

        return [self::ended($event->server, $seen), ...$this->lostBeforeEvent($event, Seen::begun($event->epoch))];
    }

    /** @return list<Gap> */
    private function beforeTick(Tick $tick): array
    {
        $seen = $this->seen[$tick->server] ?? null;
        if ($seen === null || $seen->isBeyond($tick)) {
            return [];
        }
        if ($tick->epoch === $seen->epoch) {
            return $this->lostBeforeTick($tick, $seen);
        }

        return [self::ended($tick->server, $seen), ...$this->lostBeforeTick($tick, Seen::begun($tick->epoch))];
    }

    /** @return list<Gap> */
    private function lostBeforeEvent(Event $event, Seen $seen): array
    {
        $until = $event->seq - 1;
        if ($this->names === null) {
            return self::lost($event, $seen->seq, $until, $until - $seen->seq);
        }
        $name = $event->event;

        return self::lost($event, $seen->after($name), $until, $event->nth - $seen->nth($name, $event->nth - 1) - 1, $name);
    }

    /** @return list<Gap> */
    private function lostBeforeTick(Tick $tick, Seen $seen): array
    {
        if ($this->names === null) {
            return self::lost($tick, $seen->seq, $tick->seq, $tick->seq - $seen->seq);
        }
        $gaps = [];
        foreach ($this->names as $name) {
            $count = $tick->counts[$name] ?? 0;
            $gaps[] = self::lost($tick, $seen->after($name), $tick->seq, $count - $seen->nth($name, $count), $name);
        }

        return array_merge(...$gaps);
    }

    /** @return list<Gap> */
    private static function lost(Event|Tick $message, int $after, int $until, int $missed, ?string $name = null): array
    {
        return $missed > 0 ? [new Gap($message->server, $message->epoch, $after, $until, $missed, $name)] : [];
    }

    /** What came behind the last number of an old epoch, and how much it was, cannot be known. */
    private static function ended(string $server, Seen $seen): Gap
    {
        return new Gap($server, $seen->epoch, $seen->seq);
    }
}
