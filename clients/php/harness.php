<?php

declare(strict_types=1);

// The harness of the PHP client; clients/CONFORMANCE.md says what it does.

use Amid\AmidException;
use Amid\Client;
use Amid\Event;
use Amid\Gap;
use Amid\Wire;

require __DIR__ . '/autoload.php';

const MARK = '$bin';
const FLAGS = JSON_THROW_ON_ERROR | JSON_UNESCAPED_UNICODE | JSON_PRESERVE_ZERO_FRACTION;

/** A value as a line has it: what is not UTF-8 is bytes. */
function shown(mixed $value): mixed
{
    if (is_string($value)) {
        return mb_check_encoding($value, 'UTF-8') ? $value : (object) [MARK => bin2hex($value)];
    }
    if (is_array($value) && array_is_list($value)) {
        return array_map(shown(...), $value);
    }
    if (!is_array($value) && !is_object($value)) {
        return $value;
    }
    $map = new stdClass();
    foreach ((array) $value as $name => $one) {
        $text = mb_check_encoding((string) $name, 'UTF-8') ? (string) $name : MARK . ':' . bin2hex((string) $name);
        $map->{$text} = shown($one);
    }

    return $map;
}

/** The value that a line means: a map is an object, so that an empty one is not taken for a list. */
function meant(mixed $line): mixed
{
    if (is_array($line)) {
        return array_map(meant(...), $line);
    }
    if (!$line instanceof stdClass) {
        return $line;
    }
    if (array_keys((array) $line) === [MARK]) {
        return hex2bin($line->{MARK});
    }
    $map = [];
    foreach ((array) $line as $name => $one) {
        $name = (string) $name;
        $map[str_starts_with($name, MARK . ':') ? hex2bin(substr($name, strlen(MARK) + 1)) : $name] = meant($one);
    }

    return (object) $map;
}

/** A method for each `do`; what it yields are the lines of its answer. */
final class Harness
{
    private readonly Client $client;

    public function __construct(?string $runDir)
    {
        $this->client = new Client($runDir);
    }

    public function decode(string $hex): Generator
    {
        yield ['value' => Wire::unpack(hex2bin($hex), true)];
    }

    public function encode(mixed $value): Generator
    {
        yield ['hex' => bin2hex(Wire::pack($value))];
    }

    public function call(string $method, object $params): Generator
    {
        try {
            yield ['result' => $this->result($method, (array) $params)];
        } catch (AmidException $error) {
            yield ['error' => $this->failure($error)];
        }
    }

    /** One at a time: the client blocks. */
    public function calls(int $count, int $at_once): Generator
    {
        $right = 0;
        for ($number = 0; $number < $count; $number++) {
            $answer = $this->client->action('Ping', ['ActionID' => "own-{$number}"], 'pbx1');
            $right += (int) ($answer['response']['ActionID'] === "own-{$number}");
        }
        yield ['right' => $right, 'wrong' => $count - $right, 'at_once' => 1];
    }

    public function events(?array $names, string $server, int $count, float $timeout): Generator
    {
        $events = $this->client->events($names ?? [], $server, $timeout);
        yield ['listening' => true];
        try {
            while ($count > 0 && ($item = $events->next()) !== null) {
                $count -= (int) ($item instanceof Event);
                yield [$item instanceof Gap ? 'gap' : 'event' => $item];
            }
        } catch (AmidException) {
            // Nothing came in time.
        }
        yield ['end' => true, 'missed' => $events->missed];
        $events->close();
    }

    public function changes(array $kinds, string $server, int $resets, float $timeout): Generator
    {
        try {
            $changes = $this->client->changes($kinds, $server, $timeout);
            while ($resets > 0) {
                $change = $changes->next();
                $resets -= (int) ($change['kind'] === 'reset');
                yield ['change' => $change];
            }
            yield ['end' => true];
        } catch (AmidException $error) {
            yield ['error' => $this->failure($error)];
        }
    }

    private function failure(AmidException $error): array
    {
        $known = ['server' => $error->server, 'action_id' => $error->actionId, 'response' => $error->response];
        $always = ['kind' => $error->kind, 'sent' => $error->sent, 'message' => $error->getMessage()];

        return $always + array_filter($known, fn (mixed $one): bool => $one !== null);
    }

    private function result(string $method, array $params): mixed
    {
        switch ($method) {
            case 'action':
                $name = $params['action'];
                $fields = (array) ($params['fields'] ?? []);
                unset($params['action'], $params['fields']);

                return $this->client->action($name, $fields, ...$params);
            case 'events':
                return $this->client->pull($params, (float) $params['timeout']);
            case 'ping':
                return (object) $this->client->ping();
            case 'servers':
            case 'status':
            case 'actions':
            case 'state':
            case 'restart':
            case 'audit':
                return $this->client->{$method}(...$params);
            default:
                return $this->client->call($method, $params);
        }
    }
}

$harness = new Harness($argv[1] ?? null);
while (($line = fgets(STDIN)) !== false) {
    $asked = (array) meant(json_decode($line));
    $do = $asked['do'];
    unset($asked['do']);
    foreach ($harness->{$do}(...$asked) as $answer) {
        fwrite(STDOUT, json_encode(shown($answer), FLAGS) . "\n");
    }
}
