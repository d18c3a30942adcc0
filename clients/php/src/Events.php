<?php

declare(strict_types=1);

namespace Amid;

/**
 * Events as they come, for ever, and gaps where some are missing. Made by `Client::events`.
 *
 *     foreach ($client->events(['Hangup', 'Newchannel']) as $item) {
 *         echo $item instanceof Amid\Event ? $item->fields['Channel'] : "{$item->missed} events are missing", "\n";
 *     }
 *
 * What was lost because this program did not read in time is fetched once more and comes in its place. Loss is never
 * silent: what the daemon no longer holds is a `Gap`. When the daemon or a reader is replaced, ZeroMQ reconnects by
 * itself. With names, each name's events are in order; a lost one may come after a later one of another name.
 *
 * @implements \IteratorAggregate<int, Event|Gap>
 */
final class Events implements \IteratorAggregate
{
    /** Seconds to wait for the first tick of each server that is up, which shows that the subscription is in effect. */
    private const SETTLE = 2.0;
    /** Seconds of one wait, when nobody set a limit. */
    private const LONG = 3600.0;

    private readonly Socket $socket;

    /** @param ?float $timeout seconds to wait for each item; null is for ever */
    public function __construct(private readonly Client $client, private readonly Feed $feed, private readonly ?float $timeout)
    {
        $this->socket = Socket::subscriber($feed->endpoints(), $feed->topics());
        $end = microtime(true) + self::SETTLE;
        while (!$feed->isSettled() && ($left = $end - microtime(true)) > 0) {
            $this->receive($left);
        }
    }

    /**
     * The next item; null when this is closed.
     *
     * @throws AmidException of kind "timeout" when none came in time; this is still open, and may be asked again
     */
    public function next(): Event|Gap|null
    {
        $end = microtime(true) + ($this->timeout ?? INF);
        while (!$this->socket->isClosed()) {
            $item = $this->feed->next();
            if ($item !== null) {
                return $item;
            }
            $left = $end - microtime(true);
            if ($left <= 0) {
                throw new AmidException('timeout', "no event came within {$this->timeout} s; the subscription is still open");
            }
            $this->feed->ask() === null ? $this->receive(min($left, self::LONG)) : $this->fetch(min($left, Call::TIMEOUT));
        }

        return null;
    }

    /** Items as they come, until this is closed or the timeout's exception is thrown. */
    public function getIterator(): \Generator
    {
        while (($item = $this->next()) !== null) {
            yield $item;
        }
    }

    /** How many events are known to be missing. */
    public function missed(): int
    {
        return $this->feed->missed;
    }

    /** How many gaps there were; of one at the end of an epoch nobody knows the size. */
    public function gaps(): int
    {
        return $this->feed->gaps;
    }

    /** How many events were lost on the way and fetched once more. */
    public function replayed(): int
    {
        return $this->feed->replayed;
    }

    public function close(): void
    {
        $this->socket->close();
    }

    private function receive(float $seconds): void
    {
        $body = $this->socket->receive($seconds);
        if ($body !== null) {
            $this->feed->take($body);
        }
    }

    /** Ask for what is missing, and give the daemon so many seconds for it. */
    private function fetch(float $limit): void
    {
        usleep((int) (min($this->feed->pause(), $limit) * 1e6));
        try {
            [$events, $more] = $this->client->replay(...$this->feed->ask(), timeout: $limit);
            $this->feed->fetched($events, $more);
        } catch (AmidException $error) {
            $this->feed->refused($error, $limit);
        }
    }
}
