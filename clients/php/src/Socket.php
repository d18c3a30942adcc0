<?php

declare(strict_types=1);

namespace Amid;

/** A ZeroMQ socket whose every wait has an end. */
final class Socket
{
    private ?\ZMQSocket $socket;

    private function __construct(int $type)
    {
        static $context = new \ZMQContext(1, false);
        $this->socket = new \ZMQSocket($context, $type);
        $this->socket->setSockOpt(\ZMQ::SOCKOPT_LINGER, 0);
    }

    /**
     * A socket for requests. With IMMEDIATE nothing is queued for a broker that is not there, so that what it does not take has
     * certainly not been sent.
     *
     * @throws AmidException of kind "unreachable" when this can be no endpoint
     */
    public static function dealer(string $endpoint): self
    {
        $dealer = new self(\ZMQ::SOCKET_DEALER);
        $dealer->socket->setSockOpt(\ZMQ::SOCKOPT_IMMEDIATE, 1);
        try {
            $dealer->socket->connect($endpoint);
        } catch (\ZMQException $error) {
            throw Place::nobodyAt("{$endpoint} ({$error->getMessage()})");
        }

        return $dealer;
    }

    /**
     * @param list<string> $endpoints
     * @param list<string> $topics
     */
    public static function subscriber(array $endpoints, array $topics): self
    {
        $subscriber = new self(\ZMQ::SOCKET_SUB);
        foreach ($endpoints as $endpoint) {
            $subscriber->socket->connect($endpoint);
        }
        foreach ($topics as $topic) {
            $subscriber->socket->setSockOpt(\ZMQ::SOCKOPT_SUBSCRIBE, $topic);
        }

        return $subscriber;
    }

    /** Whether somebody took the message within so many seconds. */
    public function handOver(array $frames, float $seconds): bool
    {
        return $this->isReady(\ZMQ::POLL_OUT, $seconds) && $this->socket->sendMulti($frames, \ZMQ::MODE_DONTWAIT) !== false;
    }

    /** The last frame of the next message, or null when none came within so many seconds. */
    public function receive(float $seconds): ?string
    {
        if (!$this->isReady(\ZMQ::POLL_IN, $seconds)) {
            return null;
        }
        $frames = $this->socket->recvMulti(\ZMQ::MODE_DONTWAIT);

        return is_array($frames) ? end($frames) : null;
    }

    public function close(): void
    {
        $this->socket = null;
    }

    public function isClosed(): bool
    {
        return $this->socket === null;
    }

    private function isReady(int $events, float $seconds): bool
    {
        $poll = new \ZMQPoll();
        $poll->add($this->socket, $events);
        $readable = $writable = [];
        $end = microtime(true) + $seconds;
        do {
            try {
                return $poll->poll($readable, $writable, (int) ceil(max(0.0, min($seconds, 3600.0)) * 1000)) > 0;
            } catch (\ZMQPollException $error) { // a signal ends the wait in ZeroMQ, but not ours
                $seconds = $end - microtime(true);
            }
        } while ($seconds > 0);

        return false;
    }
}
