<?php

declare(strict_types=1);

// For programs without Composer: require this file, and the classes of the namespace Amid are there.
spl_autoload_register(static function (string $class): void {
    $file = __DIR__ . '/src/' . substr($class, strlen('Amid\\')) . '.php';
    if (str_starts_with($class, 'Amid\\') && is_file($file)) {
        require $file;
    }
});
