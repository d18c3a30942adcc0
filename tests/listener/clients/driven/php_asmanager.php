<?php
// FreePBX's php-asmanager: no ActionIDs, the first response is the answer.
[, $host, $port, $username, $secret] = $argv;
$name = getenv("AMI_EVENT");
$socket = stream_socket_client("tcp://$host:$port", $code, $message, 10);
stream_set_timeout($socket, 30);

function packet($socket): array
{
    $packet = [];
    while (($line = fgets($socket)) !== false && ($line = rtrim($line, "\r\n")) !== "") {
        [$header, $value] = explode(":", $line, 2) + [1 => ""];
        $packet[$header] = ltrim($value);
    }
    return $packet;
}

function ask($socket, array $fields): array
{
    global $name;
    foreach ($fields as $header => $value) {
        fwrite($socket, "$header: $value\r\n");
    }
    fwrite($socket, "\r\n");
    while (isset(($packet = packet($socket))["Event"])) {
        if ($packet["Event"] === "UserEvent" && $packet["UserEvent"] === $name) {
            echo "event {$packet["Number"]}\n";
        }
    }
    return $packet;
}

fgets($socket);
ask($socket, ["Action" => "Login", "Username" => $username, "Secret" => $secret, "Events" => "on"]);
echo "ready\n";
while (($line = fgets(STDIN)) !== false) {
    [$command, $value] = explode(" ", trim($line));
    $actions = [
        "event" => ["Action" => "UserEvent", "UserEvent" => $name, "Number" => $value],
        "mask" => ["Action" => "Events", "EventMask" => $value],
        "ping" => ["Action" => "Ping"],
    ];
    $answer = ask($socket, $actions[$command]);
    echo "answer {$answer["Response"]}\n";
}
