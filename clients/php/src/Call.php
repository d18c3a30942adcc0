<?php

declare(strict_types=1);

namespace Amid;

/** A request that a broker has, and the wait for its answer. */
final class Call
{
    /** Seconds, the default; the daemon has the same. */
    public const TIMEOUT = 5.0;
    /** Seconds until a request must be with a broker, and that an answer may come after the call's timeout. */
    private const SEND_TIMEOUT = 1.0;
    private const MARGIN = 1.0;
    /** Seconds. The daemon refuses a longer timeout at once, and that answer is worth waiting for. */
    private const MAX_TIMEOUT = 3600.0;
    private const MAX_REQUEST_BYTES = 1048576;
    /** The methods that change something. */
    private const CHANGING = ['action', 'restart'];

    private readonly float $clientTimeout;
    private readonly float $end;
    /** Whether its answer has come, so that the socket may be used for another call. */
    public bool $answered = false;

    /** @throws AmidException of kind "invalid_params" or "invalid_request" for what is no request, "unreachable" when nobody took it */
    public function __construct(
        private readonly Socket $socket,
        private readonly int $id,
        private readonly string $method,
        private readonly array $params,
        float $timeout,
    ) {
        $this->clientTimeout = ($timeout > 0 && $timeout <= self::MAX_TIMEOUT ? $timeout : self::TIMEOUT) + self::MARGIN;
        $request = Wire::pack(['jsonrpc' => '2.0', 'id' => $id, 'method' => $method, 'params' => (object) $params]);
        if (strlen($request) > self::MAX_REQUEST_BYTES) {
            throw new AmidException('invalid_request', "{$method}: the request is larger than " . self::MAX_REQUEST_BYTES . ' bytes');
        }
        $socket->send(['', $request], self::SEND_TIMEOUT);
        $this->end = Socket::now() + $this->clientTimeout;
    }

    /** The result; null when it has not come within so many seconds. Throws "timeout" when no answer will come. */
    public function wait(float $seconds): mixed
    {
        $end = min($this->end, Socket::now() + $seconds);
        do {
            $reply = $this->reply($this->socket->receive(max(0.0, $end - Socket::now())));
        } while ($reply === null && Socket::now() < $end);
        if ($reply !== null) {
            $this->answered = true;
            return isset($reply['error']) ? throw AmidException::of($reply['error']) : $reply['result'];
        }
        if ($end < $this->end) {
            return null;
        }
        $what = trim("{$this->method} " . ($this->params['action'] ?? ''));
        $text = "the daemon took {$what} and gave no answer within {$this->clientTimeout} s: see `amid status`";
        throw new AmidException('timeout', $text, in_array($this->method, self::CHANGING, true), $this->params['server'] ?? null);
    }

    /** The reply to this call, or null. One without an id can only be this one's. */
    private function reply(?string $body): ?array
    {
        try {
            $value = $body === null ? null : Wire::unpack($body);
        } catch (\UnexpectedValueException) {
            return null;
        }
        $own = is_array($value) && in_array($value['id'] ?? null, [$this->id, null], true);
        return $own && (array_key_exists('result', $value) || is_array($value['error'] ?? null)) ? $value : null;
    }
}
