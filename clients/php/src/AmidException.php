<?php

declare(strict_types=1);

namespace Amid;

/** A call that failed. `sent` false: Asterisk never received the action, so retrying is safe. True: it may have run. */
final class AmidException extends \RuntimeException
{
    /**
     * @param string $kind what happened: one of the kinds in clients/README.md, or "unreachable" when no daemon could be asked
     * @param ?string $actionId the ActionID on the wire to Asterisk
     * @param ?array $response Asterisk's own packet, with "action_failed" for one
     */
    public function __construct(
        public readonly string $kind,
        string $message,
        public readonly bool $sent = false,
        public readonly ?string $server = null,
        public readonly ?string $actionId = null,
        public readonly ?array $response = null,
    ) {
        parent::__construct($message);
    }

    /** The error in a reply. Without `sent` in it, Asterisk may have received the action. */
    public static function of(array $error): self
    {
        $unknown = ['kind' => 'internal_error', 'sent' => true, 'server' => null, 'action_id' => null, 'response' => null];
        $data = ($error['data'] ?? []) + $unknown;
        return new self($data['kind'], $error['message'] ?? '', $data['sent'], $data['server'], $data['action_id'], $data['response']);
    }
}
