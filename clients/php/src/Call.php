<?php

declare(strict_types=1);

namespace Amid;

/** A request, how long to wait for its answer, and what the answer means. It knows no socket. */
final class Call
{
    /** Seconds that a call may take unless its caller says otherwise; the daemon has the same default. */
    public const TIMEOUT = 5.0;
    /** Seconds that an answer may come after the call's timeout, for the way to the broker and back. */
    private const MARGIN = 1.0;
    /** The longest timeout that the daemon accepts, in seconds. */
    private const LONGEST = 3600.0;
    /** The methods that change nothing: without an answer of theirs, nothing was done. */
    private const READ_ONLY = ['servers', 'status', 'actions', 'replay', 'ping'];

    /** Seconds to wait for the answer. */
    public readonly float $patience;
    public readonly string $request;

    /** @throws AmidException of kind "invalid_params" when a value has no place in a request */
    public function __construct(
        private readonly int $id,
        private readonly string $method,
        private readonly array $params,
        float $timeout,
    ) {
        // The daemon soon refuses a timeout that it does not accept, and that answer is worth waiting for.
        $accepted = $timeout > 0 && $timeout <= self::LONGEST;
        $this->patience = ($accepted ? $timeout : self::TIMEOUT) + self::MARGIN;
        $this->request = Wire::pack(['jsonrpc' => '2.0', 'id' => $id, 'method' => $method, 'params' => (object) $params]);
    }

    /** The reply to this call, or null. One without an id can only be ours, where one call is open at a time. */
    public function reply(string $body): ?array
    {
        try {
            $value = Wire::unpack($body);
        } catch (\UnexpectedValueException) {
            return null;
        }
        $ours = is_array($value) && in_array($value['id'] ?? null, [$this->id, null], true);

        return $ours && (array_key_exists('result', $value) || is_array($value['error'] ?? null)) ? $value : null;
    }

    /** @throws AmidException the error in the reply */
    public function outcome(array $reply): mixed
    {
        if (isset($reply['error'])) {
            throw AmidException::of($reply['error']);
        }

        return $reply['result'];
    }

    /** What to throw when no answer came: the broker has the request, but it is stopped, or was replaced meanwhile. */
    public function noAnswer(string $endpoint): AmidException
    {
        $what = trim("{$this->method} " . ($this->params['action'] ?? ''));
        $text = "the daemon at {$endpoint} took {$what} and gave no answer within {$this->patience} s: see `amid status`";
        $sent = !in_array($this->method, self::READ_ONLY, true);

        return new AmidException('timeout', $text, $sent, $this->params['server'] ?? null);
    }
}
