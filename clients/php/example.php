<?php

declare(strict_types=1);

// One action, and then three events: php example.php [RUN_DIR]

require __DIR__ . '/autoload.php';

try {
    $client = new Amid\Client($argv[1] ?? null);
    $server = $client->servers()[0]['name'];
    $answer = $client->action('CoreStatus', server: $server);
    echo "{$server} is up since {$answer['response']['CoreStartupTime']}\n";
    $events = $client->events(server: $server, timeout: 10.0);
    for ($left = 3; $left > 0; $left--) {
        $item = $events->next();
        echo $item instanceof Amid\Event ? "{$item->event} " . json_encode($item->fields) : 'events are missing', "\n";
    }
} catch (Amid\AmidException $error) {
    echo $error->getMessage(), "\n";
}
