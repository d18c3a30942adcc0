<?php

declare(strict_types=1);

namespace Amid;

/**
 * A ZeroMQ socket for requests, whose every wait has an end. With IMMEDIATE nothing is queued for a broker that is not there, so
 * that what it does not take has certainly not been sent.
 */
final class Socket
{
    private readonly \ZMQSocket $socket;

    /** @throws AmidException of kind "unreachable" when this can be no endpoint */
    private function __construct(private readonly string $endpoint)
    {
        static $context = new \ZMQContext(1, false);
        $this->socket = new \ZMQSocket($context, \ZMQ::SOCKET_DEALER);
        $this->socket->setSockOpt(\ZMQ::SOCKOPT_LINGER, 0);
        $this->socket->setSockOpt(\ZMQ::SOCKOPT_IMMEDIATE, 1);
        try {
            $this->socket->connect($endpoint);
        } catch (\ZMQException $error) {
            throw self::unreachable("no amid daemon answers at {$endpoint} ({$error->getMessage()})");
        }
    }

    /** One to the daemon in `runDir`, or in AMID_RUN_DIR: that is then the only directory, since another could be another PBX's. */
    public static function toDaemon(?string $runDir): self
    {
        $named = $runDir ?? (getenv('AMID_RUN_DIR') ?: null);
        $private = (string) getenv('XDG_RUNTIME_DIR');
        $usual = $private === '' ? ['/run/amid'] : ['/run/amid', "{$private}/amid"];
        $looked = [];
        clearstatcache();
        foreach ($named === null ? $usual : [$named] as $directory) {
            $found = file_exists("{$directory}/rpc") && filetype("{$directory}/rpc") === 'socket';
            if ($found && is_writable("{$directory}/rpc")) { // which connecting takes
                return new self("ipc://{$directory}/rpc");
            }
            $looked[] = $directory . ($found ? ': this user may not use its socket' : ': no socket');
        }
        throw self::unreachable('no amid daemon found (' . implode('; ', $looked) . ')');
    }

    /** Seconds, by a clock that nobody sets. */
    public static function now(): float
    {
        return hrtime(true) / 1e9;
    }

    /** @throws AmidException of kind "unreachable" when nobody took the message within so many seconds */
    public function send(array $frames, float $seconds): void
    {
        if (!$this->isReady(\ZMQ::POLL_OUT, $seconds) || $this->socket->sendMulti($frames, \ZMQ::MODE_DONTWAIT) === false) {
            throw self::unreachable("no amid daemon answers at {$this->endpoint}");
        }
    }

    /** The last frame of the next message, or null when none came within so many seconds. */
    public function receive(float $seconds): ?string
    {
        $frames = $this->isReady(\ZMQ::POLL_IN, $seconds) ? $this->socket->recvMulti(\ZMQ::MODE_DONTWAIT) : null;
        return is_array($frames) ? end($frames) : null;
    }

    private function isReady(int $events, float $seconds): bool
    {
        $poll = new \ZMQPoll();
        $poll->add($this->socket, $events);
        $readable = $writable = [];
        $end = self::now() + min($seconds, 3600.0);
        do {
            try {
                return $poll->poll($readable, $writable, (int) ceil(max(0.0, $end - self::now()) * 1000)) > 0;
            } catch (\ZMQPollException) { // a signal ends the wait in ZeroMQ, but not this one
            }
        } while (self::now() < $end);
        return false;
    }

    private static function unreachable(string $what): AmidException
    {
        return new AmidException('unreachable', "{$what}: start one with `amid run`, or name its directory in AMID_RUN_DIR");
    }
}
