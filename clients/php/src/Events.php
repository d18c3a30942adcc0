<?php

declare(strict_types=1);

namespace Amid;

/**
 * Events of a server, in order and each once, also over the restart of a reader or of the daemon, and a `Gap` where the daemon
 * no longer holds what was missed. Made by `Client::events`.
 *
 *     foreach ($client->events(['Hangup', 'Newchannel']) as $item) {
 *         echo $item instanceof Amid\Event ? $item->fields['Channel'] : 'events are missing', "\n";
 *     }
 *
 * @implements \IteratorAggregate<int, Event|Gap>
 */
class Events implements \IteratorAggregate
{
    /** Seconds that one request waits for an event in the daemon, and before a request that failed is made again. */
    private const PULL_TIMEOUT = 5.0;
    private const RETRY_DELAY = 0.5;
    private const TRANSIENT = ['unreachable', 'not_connected', 'busy', 'timeout', 'connection_lost'];

    /** What came and was not taken yet, the next one last. */
    protected array $ready = [];
    private ?Call $call = null;
    private ?Socket $socket = null;
    private float $retryAt = 0.0;
    private bool $closed = false;
    /** How many events are known to be missing, and how many gaps there were. */
    public int $missed = 0;
    public int $gaps = 0;

    /** @param array $query the params of the next request */
    public function __construct(private readonly Client $client, protected array $query, private readonly ?float $timeout)
    {
        try {
            $this->take($client->call(...$this->request(0.0)));
        } catch (AmidException $error) { // a server whose reader is away begins when it is back
            $error->kind === 'unreachable' ? throw $error : $this->refused($error);
        }
    }

    /** The next item; null when this is closed. Throws "timeout" when none came in time, and may then be called again. */
    public function next(): Event|Gap|array|null
    {
        $end = Socket::now() + ($this->timeout ?? INF);
        while (!$this->closed && $this->ready === []) {
            $left = max(0.0, $end - Socket::now());
            $this->wait($left);
            if ($left <= 0.0 && $this->ready === []) {
                throw new AmidException('timeout', "no event came within {$this->timeout} s; the events are still open");
            }
        }
        $item = $this->closed ? null : array_pop($this->ready);
        if ($item instanceof Gap) {
            $this->gaps++;
            $this->missed += $item->missed ?? 0;
        }
        return $item;
    }

    public function getIterator(): \Generator
    {
        while (($item = $this->next()) !== null) {
            yield $item;
        }
    }

    public function close(): void
    {
        $this->closed = true;
        $this->call = $this->socket = null;
    }

    /** Until something has come, for so many seconds at most. */
    private function wait(float $seconds): void
    {
        $pause = $this->retryAt - Socket::now();
        if ($pause > 0) {
            usleep((int) (min($pause, $seconds) * 1e6));

            return;
        }
        try {
            $this->ask();
            $page = $this->call->wait($seconds);
            if ($page !== null) {
                $this->call = null;
                $this->take($page);
                $this->ask(); // the daemon works on the next page while this program works on this one
            }
        } catch (AmidException $error) {
            $this->call = $this->socket = null;
            $this->refused($error);
        }
    }

    private function ask(): void
    {
        $this->socket ??= $this->client->connect();
        $this->call ??= $this->client->begin($this->socket, ...$this->request(self::PULL_TIMEOUT));
    }

    /** Method, params and timeout of the next request. */
    protected function request(float $timeout): array
    {
        return ['events', $this->query + ['timeout' => $timeout], $timeout];
    }

    private function refused(AmidException $error): void
    {
        $this->retryAt = in_array($error->kind, self::TRANSIENT, true) ? Socket::now() + self::RETRY_DELAY : throw $error;
    }

    protected function take(array $page): void
    {
        $now = ['epoch' => $page['epoch'], 'seq' => $page['seq']];
        $behind = $this->query['after'] ?? $now;
        $this->query['after'] = $now;
        $this->ready = array_reverse(array_map(Event::of(...), $page['events']));
        if ($page['missed'] !== 0) {
            $this->ready[] = new Gap($page['server'], $behind['epoch'], $behind['seq'], $page['missed']);
        }
    }
}
