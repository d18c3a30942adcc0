<?php

declare(strict_types=1);

namespace Amid;

/**
 * A connection to the daemon. It opens nothing before the first call. Every method throws `AmidException`, whose `kind` says what
 * happened and whose `sent` whether Asterisk may have received the action. No action is ever sent a second time. Every timeout is in
 * seconds; a call ends two seconds after its own at the latest.
 */
final class Client
{
    private ?Socket $socket = null;
    private int $lastId = 0;

    /** Without a directory, AMID_RUN_DIR, or without that the first of /run/amid and $XDG_RUNTIME_DIR/amid with a daemon. */
    public function __construct(private readonly ?string $runDir = null) {}

    /**
     * Sends an action and waits for its whole answer. The server may be left out when there is one.
     *
     * @param array $fields header name => text, number or boolean, or a list of them for a repeated header
     * @param ?string $until the name of a later event with this ActionID to wait for as well
     */
    public function action(string $name, array $fields = [], ?string $server = null, float $timeout = 5.0, ?string $until = null): array
    {
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

    public function status(float $timeout = Call::TIMEOUT): array
    {
        return $this->call('status', [], $timeout);
    }

    /** @return list<array> "name", "synopsis" and "privilege" of each action that this Asterisk offers */
    public function actions(?string $server = null, float $timeout = Call::TIMEOUT): array
    {
        return $this->call('actions', ['server' => $server, 'timeout' => $timeout], $timeout);
    }

    /** A page of events: the method `events`, with its params as clients/README.md says. `events` does this for ever. */
    public function pull(array $params, float $timeout = 25.0): array
    {
        return $this->call('events', $params + ['timeout' => $timeout], $timeout);
    }

    /** The live state of a PBX: a list for each of these kinds, or of all, of the things that meet a condition such as "state=Up". */
    public function state(?string $server = null, ?array $kinds = null, mixed $where = null, float $timeout = 10.0): array
    {
        return $this->call('state', ['server' => $server, 'kinds' => $kinds, 'where' => $where, 'timeout' => $timeout], $timeout);
    }

    /** "records" of the audit trail behind number `after`, for callers with `admin`. */
    public function audit(int $after = 0, int $limit = 1000, float $timeout = Call::TIMEOUT): array
    {
        return $this->call('audit', ['after' => $after, 'limit' => $limit], $timeout);
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
        $socket = $this->socket ?? $this->connect();
        $this->socket = null; // a call without an answer takes its socket along, so that what comes late goes to nobody
        $call = $this->begin($socket, $method, $params, $timeout);
        try {
            return $call->wait(INF);
        } finally {
            $this->socket = $call->answered ? $socket : null;
        }
    }

    /** Events with these names, or all, as they come from now on. `timeout`: seconds to wait for each; null is without a limit. */
    public function events(array $names = [], ?string $server = null, ?float $timeout = null): Events
    {
        return new Events($this, ['server' => $server, 'names' => $names ?: null], $timeout);
    }

    /** The live state of these kinds, and its changes as they come. Server and timeout are those of `events`. */
    public function changes(array $kinds, ?string $server = null, ?float $timeout = null): Changes
    {
        return new Changes($this, ['server' => $server, 'kinds' => $kinds], $timeout);
    }

    /** The client may be used again. */
    public function close(): void
    {
        $this->socket = null;
    }

    /** @internal */
    public function connect(): Socket
    {
        return Socket::toDaemon($this->runDir);
    }

    /** @internal */
    public function begin(Socket $socket, string $method, array $params, float $timeout): Call
    {
        return new Call($socket, ++$this->lastId, $method, array_filter($params, fn ($value) => $value !== null), $timeout);
    }
}
