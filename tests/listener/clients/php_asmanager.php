<?php
// What FreePBX's php-asmanager says and expects: no ActionIDs, the first response is the answer, events between go to handlers.
[, $host, $port, $username, $secret] = $argv;
$socket = stream_socket_client("tcp://$host:$port", $code, $message, 10);
stream_set_timeout($socket, 15);
$family = getenv("AMI_EVENT");
$numbers = [];
$originated = null;

function packet($socket): array
{
    $packet = [];
    while (($line = fgets($socket)) !== false && ($line = rtrim($line, "\r\n")) !== "") {
        [$name, $value] = explode(":", $line, 2) + [1 => ""];
        $packet[$name] = isset($packet[$name]) ? $packet[$name] . "\n" . ltrim($value) : ltrim($value);
    }
    return $packet;
}

function ask($socket, string $action, array $fields = []): array
{
    global $numbers, $originated;
    $request = "Action: $action\r\n";
    foreach ($fields as $name => $value) {
        $request .= "$name: $value\r\n";
    }
    fwrite($socket, "$request\r\n");
    do {
        $packet = packet($socket);
        if (($packet["Event"] ?? "") === "UserEvent" && $packet["UserEvent"] === getenv("AMI_EVENT")) {
            $numbers[] = [$packet["Number"], $packet["Name"]];
        }
        if (($packet["Event"] ?? "") === "OriginateResponse") {
            $originated = $packet["Response"];
        }
    } while (isset($packet["Event"]));
    return $packet;
}

$found = ["greeting" => str_starts_with(fgets($socket), "Asterisk Call Manager/")];
$found["login"] = ask($socket, "login", ["Username" => $username, "Secret" => $secret, "Events" => "on"])["Message"];
ask($socket, "Command", ["Command" => "database put $family key value with blanks"]);
$found["database"] = str_contains(ask($socket, "Command", ["Command" => "database show $family"])["Output"] ?? "", "/$family/key");
ask($socket, "Command", ["Command" => "database deltree $family"]);
$found["hundred"] = count(array_filter(range(1, 100), fn($_) => (ask($socket, "Ping")["Ping"] ?? "") === "Pong"));
for ($number = 0; $number < 20; $number++) {
    ask($socket, "UserEvent", ["UserEvent" => getenv("AMI_EVENT"), "Number" => $number, "Name" => "Grüße"]);
}
ask($socket, "Originate", ["Channel" => "Local/answer@calls", "Application" => "Hangup", "Async" => "true"]);
for ($end = time() + 15; time() < $end && ($originated === null || count($numbers) < 20);) {
    ask($socket, "Ping");
}
$found["originate"] = $originated;
$found["events"] = $numbers;
$found["logoff"] = ask($socket, "Logoff")["Response"];
echo json_encode($found), "\n";
