<?php

declare(strict_types=1);

namespace Amid;

/**
 * A connection to the daemon. Nothing is opened before the first call, and each call has the socket to itself.
 *
 * Every method throws `AmidException`, whose `kind` says what happened and whose `sent` whether Asterisk may have seen
 * the action. No action is ever sent a second time. Every timeout is in seconds; a call ends two seconds after its own at
 * the latest.
 */
final class Client
{
    /** Seconds until a request must be with a broker. */
    private const HANDOVER = 1.0;

    private ?Socket $socket = null;
    private string $endpoint = '';
    private int $lastId = 0;

    /**
     * @param ?string $runDir the daemon's directory; when left out, AMID_RUN_DIR, or without it the
     *                        first of /run/amid and $XDG_RUNTIME_DIR/amid that holds its socket
     */
    public function __construct(private readonly ?string $runDir = null)
    {
    }

    /**
     * Sends an action and waits for its whole answer.
     *
     * @param array $fields header name => text, number or boolean, or a list of them for a repeated header. Text that is
     *                      not UTF-8 goes out as the bytes that it is.
     * @param ?string $server may be left out when there is one
     * @param ?string $until the name of a later event with this ActionID to wait for as well
     * @return array "response", "events", "complete", "output", "until", "elapsed" and more, as clients/README.md says
     */
    public function action(
        string $name,
        array $fields = [],
        ?string $server = null,
        float $timeout = Call::TIMEOUT,
        ?string $until = null,
    ): array {
        $params = ['action' => $name, 'fields' => (object) $fields, 'server' => $server, 'timeout' => $timeout, 'until' => $until];

        return $this->call('action', $params, $timeout);
    }

    /** @return list<string> the output lines of an Asterisk CLI command */
    public function command(string $text, ?string $server = null, float $timeout = Call::TIMEOUT): array
    {
        return $this->action('Command', ['Command' => $text], $server, $timeout)['output'];
    }

    /** @return list<array> of each server "name", "state", "epoch", endpoints, lanes and more */
    public function servers(float $timeout = Call::TIMEOUT): array
    {
        return $this->call('servers', [], $timeout);
    }

    /** Servers, processes, counters, version and uptime of the daemon. */
    public function status(float $timeout = Call::TIMEOUT): array
    {
        return $this->call('status', [], $timeout);
    }

    /** @return list<array> "name", "synopsis" and "privilege" of each action that this Asterisk offers */
    public function actions(?string $server = null, float $timeout = Call::TIMEOUT): array
    {
        return $this->call('actions', ['server' => $server, 'timeout' => $timeout], $timeout);
    }

    /**
     * Events once more, from the first behind number `after`; 0 is before the first. `events` does it by itself.
     *
     * @return array{list<Event>, bool} at most `limit` events, and whether there are more behind them
     * @throws AmidException of kind "gone" when they are no longer held; `oldest` is the first number that is
     */
    public function replay(string $server, int $epoch, int $after, int $limit = 1000, float $timeout = Call::TIMEOUT): array
    {
        $params = ['server' => $server, 'epoch' => $epoch, 'after' => $after, 'limit' => $limit, 'timeout' => $timeout];
        $page = $this->call('replay', $params, $timeout);

        return [array_map(Event::of(...), $page['events']), $page['more']];
    }

    /** Replaces a server's reader. */
    public function restart(string $server, float $timeout = Call::TIMEOUT): array
    {
        return $this->call('restart', ['server' => $server], $timeout);
    }

    /** Asks the daemon, not Asterisk, for a sign of life. */
    public function ping(float $timeout = Call::TIMEOUT): array
    {
        return $this->call('ping', [], $timeout);
    }

    /** Any method of the daemon's, for one that is newer than this client. What is null among the params is left out. */
    public function call(string $method, array $params = [], float $timeout = Call::TIMEOUT): mixed
    {
        $set = array_filter($params, fn (mixed $value): bool => $value !== null);
        $call = new Call(++$this->lastId, $method, $set, $timeout);
        $socket = $this->connected();
        $this->socket = null; // a call without an answer takes its socket along, so that what comes late goes to nobody
        $reply = $this->ask($socket, $call);
        $this->socket = $socket;

        return $call->outcome($reply);
    }

    /**
     * Events as they come: those with these names, or all. The subscription is in effect when this returns.
     *
     * @param list<string> $names
     * @param ?string $server one server only; otherwise all that the daemon has now
     * @param ?float $timeout seconds to wait for each item; null is for ever
     */
    public function events(array $names = [], ?string $server = null, ?float $timeout = null): Events
    {
        $feed = new Feed($this->servers(), $names === [] ? null : array_values(array_unique($names)), $server);

        return new Events($this, $feed, $timeout);
    }

    /** Closes the socket; the client may be used again. */
    public function close(): void
    {
        $this->socket = null;
    }

    private function connected(): Socket
    {
        if ($this->socket === null) {
            $this->endpoint = Place::find($this->runDir);
        }

        return $this->socket ?? Socket::dealer($this->endpoint);
    }

    private function ask(Socket $socket, Call $call): array
    {
        if (!$socket->handOver(['', $call->request], self::HANDOVER)) {
            throw Place::nobodyAt($this->endpoint);
        }
        $end = microtime(true) + $call->patience;
        while (($left = $end - microtime(true)) > 0) {
            $body = $socket->receive($left);
            $reply = $body === null ? null : $call->reply($body);
            if ($reply !== null) {
                return $reply;
            }
        }
        throw $call->noAnswer($this->endpoint);
    }
}
