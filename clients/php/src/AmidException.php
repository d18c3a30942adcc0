<?php

declare(strict_types=1);

namespace Amid;

/**
 * A call that did not end well. `sent` is the word that matters: false says that Asterisk never saw the action, and
 * trying again is safe; true that it may have been carried out, so that a second try may be a second phone call.
 */
final class AmidException extends \RuntimeException
{
    /**
     * @param string $kind what happened: one of the kinds in clients/README.md, or "unreachable" when no daemon could be asked
     * @param ?string $actionId the ActionID on the wire to Asterisk
     * @param ?array $response Asterisk's own packet, with "action_failed" for one
     * @param ?int $oldest with "gone", the first number of that epoch that `replay` still has
     */
    public function __construct(
        public readonly string $kind,
        string $message,
        public readonly bool $sent = false,
        public readonly ?string $server = null,
        public readonly ?string $actionId = null,
        public readonly ?array $response = null,
        public readonly ?int $oldest = null,
    ) {
        parent::__construct($message);
    }

    /** The error in a reply. Asterisk may have seen what nobody says it has not. */
    public static function of(array $error): self
    {
        $data = $error['data'] ?? [];

        return new self(
            $data['kind'] ?? 'internal_error',
            $error['message'] ?? '',
            $data['sent'] ?? true,
            $data['server'] ?? null,
            $data['action_id'] ?? null,
            $data['response'] ?? null,
            $data['oldest'] ?? null,
        );
    }
}
