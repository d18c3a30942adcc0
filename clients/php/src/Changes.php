<?php

declare(strict_types=1);

namespace Amid;

/**
 * The live state of a server as it changes. Made by `Client::changes`. An item is an array: "kind", "id", and "set", the members with
 * new values, or "gone". The first one, and the first one after a loss, is of the kind "reset" and has the whole "state" instead.
 */
final class Changes extends Events
{
    /** Seconds: at the first request, the daemon loads the lists of a PBX. */
    private const STATE_TIMEOUT = 10.0;

    protected function request(float $timeout): array
    {
        $state = ['state', $this->query + ['timeout' => self::STATE_TIMEOUT], self::STATE_TIMEOUT];
        return isset($this->query['after']) ? parent::request($timeout) : $state;
    }

    protected function take(array $page): void
    {
        $page += ['missed' => 0, 'events' => [['kind' => 'reset', 'state' => $page]]];
        $isVoid = $page['missed'] !== 0; // then the whole state is next
        $this->query['after'] = $isVoid ? null : ['epoch' => $page['epoch'], 'seq' => $page['seq'], 'rev' => $page['rev']];
        $this->ready = $isVoid ? [] : array_reverse($page['events']);
    }
}
