<?php

declare(strict_types=1);

namespace Amid;

/** Where the daemon is on this machine. */
final class Place
{
    private const SOCKET = 'a socket';

    /**
     * The endpoint of the daemon's rpc socket.
     *
     * @param ?string $runDir this or AMID_RUN_DIR is the only directory to look in: another could be another PBX's
     * @throws AmidException of kind "unreachable" when no directory holds one
     */
    public static function find(?string $runDir): string
    {
        $looked = [];
        foreach (self::runDirs($runDir) as $directory) {
            $found = self::there("{$directory}/rpc");
            if ($found === self::SOCKET) {
                return "ipc://{$directory}/rpc";
            }
            $looked[] = "{$directory}: {$found}";
        }
        throw self::unreachable('no amid daemon found (' . implode('; ', $looked) . ')');
    }

    /** What to throw when nobody took a request over. */
    public static function nobodyAt(string $endpoint): AmidException
    {
        return self::unreachable("no amid daemon answers at {$endpoint}");
    }

    /** @return list<string> */
    private static function runDirs(?string $runDir): array
    {
        if ($runDir !== null) {
            return [$runDir];
        }
        $named = (string) getenv('AMID_RUN_DIR');
        if ($named !== '') {
            return [$named];
        }
        $private = (string) getenv('XDG_RUNTIME_DIR');

        return $private === '' ? ['/run/amid'] : ['/run/amid', "{$private}/amid"];
    }

    /** What is at a path, in words. Connecting to a socket takes the permission to write it. */
    private static function there(string $path): string
    {
        clearstatcache();
        if (!file_exists($path) || filetype($path) !== 'socket') {
            return 'no socket';
        }

        return is_writable($path) ? self::SOCKET : 'this user may not use its socket';
    }

    private static function unreachable(string $what): AmidException
    {
        return new AmidException('unreachable', "{$what}: start one with `amid run`, or name its directory in AMID_RUN_DIR");
    }
}
