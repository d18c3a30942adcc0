<?php

declare(strict_types=1);

namespace Amid;

/**
 * What a subscriber does with its messages, without a socket or a clock: give `take` each of them, and get events and
 * gaps from `next`.
 *
 * What is missing is fetched once more before anything behind it is given out. While `ask` is not null, events are
 * missing: call `Client::replay` with it, and give `fetched` or `refused` what came of it, before the next message. What
 * cannot be had comes as a gap in its place, so that no loss is silent.
 */
final class Feed
{
    /** Events that are known to be missing. */
    public int $missed = 0;
    /** Gaps that were given out; of one at the end of an epoch nobody knows the size. */
    public int $gaps = 0;
    /** Events that were lost and fetched. */
    public int $replayed = 0;

    private readonly Gaps $rule;
    private readonly Recovery $recovery;
    private readonly array $servers;
    /** @var array<string, true> servers that are up and have not ticked yet */
    private array $awaited = [];
    private bool $recovering = false;
    /** @var \SplQueue<Event|Tick> */
    private readonly \SplQueue $inbox;
    /** @var \SplQueue<Event|Gap> */
    private readonly \SplQueue $ready;

    /**
     * @param array $listed the result of `Client::servers`
     * @param ?list<string> $names the events wanted; null is all
     * @param ?string $server the only server wanted
     * @throws AmidException of kind "unknown_server"
     */
    public function __construct(array $listed, private readonly ?array $names, ?string $server)
    {
        $this->rule = new Gaps($names);
        $this->recovery = new Recovery();
        $this->inbox = new \SplQueue();
        $this->ready = new \SplQueue();
        $this->servers = self::chosen($listed, $server);
        foreach ($this->servers as $one) {
            if ($one['state'] === 'up') {
                $this->awaited[$one['name']] = true;
            }
        }
    }

    /** @return list<string> where to subscribe */
    public function endpoints(): array
    {
        return array_column($this->servers, $this->names === null ? 'stream' : 'events');
    }

    /** @return list<string> ticks last: the first tick then shows that all of them are in effect */
    public function topics(): array
    {
        $wanted = $ticks = [];
        foreach (array_column($this->servers, 'name') as $server) {
            $ticks[] = "tick.{$server}.";
            if ($this->names === null) {
                $wanted[] = "stream.{$server}.";
            }
            foreach ($this->names ?? [] as $name) {
                $wanted[] = "event.{$server}.{$name}."; // the final dot: ZeroMQ compares beginnings
            }
        }

        return [...$wanted, ...$ticks];
    }

    /** Every server that was up has ticked: whatever it publishes from now on will come. */
    public function isSettled(): bool
    {
        return $this->awaited === [];
    }

    /** @param string $body the second frame of a message that came */
    public function take(string $body): void
    {
        foreach (Wire::unpack($body) as $one) {
            $message = Wire::message($one);
            if ($message instanceof Tick) {
                unset($this->awaited[$message->server]);
            }
            $this->inbox->enqueue($message);
        }
        $this->advance();
    }

    /** @return ?array what to ask `replay` for */
    public function ask(): ?array
    {
        return $this->recovery->ask();
    }

    /** Seconds to wait before asking it. */
    public function pause(): float
    {
        return $this->recovery->pause;
    }

    /** @param list<Event> $events what `replay` gave for `ask` */
    public function fetched(array $events, bool $more): void
    {
        foreach ($this->recovery->page($events, $more) as $event) {
            $this->replayed += (int) $this->takeEvent($event);
        }
        $this->advance();
    }

    /** `replay` did not give it. What the caller's own limit, in seconds, cut short is asked again. */
    public function refused(AmidException $error, float $limit): void
    {
        if ($error->kind === 'timeout' && $limit < Call::TIMEOUT) {
            return;
        }
        $this->recovery->refused($error);
        $this->advance();
    }

    /** The next item, when there is one. */
    public function next(): Event|Gap|null
    {
        return $this->ready->isEmpty() ? null : $this->ready->dequeue();
    }

    private static function chosen(array $listed, ?string $server): array
    {
        $chosen = array_values(array_filter($listed, fn (array $one): bool => $server === null || $one['name'] === $server));
        if ($chosen === []) {
            $known = implode(', ', array_column($listed, 'name'));
            $which = $server ?? 'at all';
            throw new AmidException('unknown_server', "there is no server {$which}; the daemon has: {$known}", false, $server);
        }

        return $chosen;
    }

    /** Take what came, up to where something is missing that may still be had. */
    private function advance(): void
    {
        while (!$this->inbox->isEmpty() && $this->ask() === null) {
            if (!$this->recovers()) {
                $this->takeMessage($this->inbox->dequeue());
            }
        }
    }

    /**
     * Whether something is missing before the next message that was not asked for yet. Then it is now; what has not come
     * when that is over will not come.
     */
    private function recovers(): bool
    {
        $missing = $this->recovering ? [] : $this->rule->before($this->inbox->bottom());
        $this->recovery->recover(array_map($this->rule->widened(...), $missing));

        return $this->recovering = $missing !== [];
    }

    private function takeMessage(Event|Tick $message): void
    {
        if ($message instanceof Event) {
            $this->takeEvent($message);
        } else {
            array_map($this->giveGap(...), $this->rule->tick($message));
        }
    }

    /** Whether it is one that was asked for and is new. */
    private function takeEvent(Event $event): bool
    {
        if ($this->names !== null && !in_array($event->event, $this->names, true)) {
            return false;
        }
        [$fresh, $gaps] = $this->rule->event($event);
        array_map($this->giveGap(...), $gaps);
        if ($fresh) {
            $this->ready->enqueue($event);
        }

        return $fresh;
    }

    private function giveGap(Gap $gap): void
    {
        $this->gaps += 1;
        $this->missed += $gap->missed ?? 0;
        $this->ready->enqueue($gap);
    }
}
