# amid for Bash, through its gateway, with curl 7.76 or later and jq.
#
#   . amid.sh
#   AMID_URL=http://127.0.0.1:8088 AMID_TOKEN_FILE=~/.amid-token
#   amid_action pbx1 QueueStatus Queue=support | jq -r '.events[] | select(.Event == "QueueMember").Name'
#   amid_events Hangup UserEvent | while read -r item; do …; done
#   amid_call state '{"server": "pbx1", "kinds": ["channels"], "where": "state=Up"}' | jq -r '.channels[].name'
#   amid_changes pbx1 channels | while read -r item; do …; done
#
# Results are JSON on standard output. An error is amid's error object, as JSON on standard error, and its kind is the exit status, as
# the command line has it: 1 Asterisk said Error, 2 a bad request, 3 timeout, 4 not reachable or not connected, 5 denied or a wrong
# token, 7 busy, 8 too large, 10 anything else. `.data.sent` says whether Asterisk may have carried it out.
#
# The token stays out of the process list: curl reads it from a descriptor. jq puts U+FFFD for bytes that are not UTF-8.

AMID_URL=${AMID_URL:-http://127.0.0.1:8088}

# amid_call METHOD [PARAMS]: any method of the contract, with its params as JSON. Ends within their timeout, by default 5 seconds and
# 25 for the method events, and two more for a daemon that is not there.
amid_call() {
    local method=$1 params=${2:-'{}'} request limit reply status
    request=$(jq -cn --arg method "$method" --argjson params "$params" '{jsonrpc: "2.0", id: 1, $method, $params}') || return 2
    limit=$(jq -n --arg method "$method" --argjson params "$params" '
        ($params.timeout // (if $method == "events" then 25 else 5 end)) + 2') || return 2
    reply=$(_amid_curl --max-time "$limit" --data-binary @- -H 'Content-Type: application/json' "$AMID_URL/rpc" <<<"$request")
    status=$?
    if ((status)); then
        _amid_unreachable "$status"
    elif jq -e 'has("result")' <<<"$reply" >/dev/null 2>&1; then
        jq -c .result <<<"$reply"
    else
        _amid_failed "$reply"
    fi
}

# amid_action SERVER ACTION [NAME=VALUE …]: an action and its whole answer. AMID_TIMEOUT (seconds) and AMID_UNTIL (the name of a
# later event) are params of it; a NAME that occurs more than once is a repeated header.
amid_action() {
    local server=$1 action=$2 params
    shift 2
    params=$(jq -cn --arg server "$server" --arg action "$action" --arg timeout "${AMID_TIMEOUT:-5}" --arg until "${AMID_UNTIL:-}" '
        {$server, $action, timeout: ($timeout | tonumber)}
        + (if $until == "" then {} else {$until} end)
        + {fields: (reduce $ARGS.positional[] as $field ({}; ($field | index("=")) as $at | .[$field[:$at]] += [$field[$at + 1:]])
            | map_values(if length == 1 then .[0] else . end))}
        ' --args -- "$@") || return 2
    amid_call action "$params"
}

# amid_events [NAME …]: {"event": …} or {"gap": …}, one a line, for ever. A connection that is lost, or silent for 15 seconds, is
# made again from where it was. Only a refusal ends it. AMID_WHERE is one condition, such as 'Channel~PJSIP'; AMID_AFTER is a place
# to begin at; before the events comes {"at": PLACE}, and so whenever it is quiet.
amid_events() {
    local at=${AMID_AFTER:-} where=${AMID_WHERE:-} names query line kind data seen
    names=$(jq -nr '[$ARGS.positional[] | "event=\(@uri)"] | join("&")' --args -- "$@")
    query=$names$(jq -nr --arg where "$where" 'if $where == "" then "" else "&where=\($where | @uri)" end')
    while :; do
        kind=event data='' seen=
        while IFS= read -r line; do
            case $line in
                'id: '*) seen=${line#id: } ;;
                'event: '*) kind=${line#event: } ;;
                'data: '*) data=${line#data: } ;;
                '{'*) data=$line kind=refused ;;
                '')
                    at=$seen
                    if [[ $data ]]; then printf '{"%s":%s}\n' "$kind" "$data"; else printf '{"at":"%s"}\n' "$at"; fi || return 0
                    kind=event data=''
                    ;;
            esac
        done < <(_amid_curl -N --speed-limit 1 --speed-time 15 ${at:+-H "Last-Event-ID: $at"} "$AMID_URL/v1/events?$query" && echo)
        [[ $kind == refused && $data != *'"unreachable"'* ]] && { _amid_failed "$data"; return; }
        sleep 1
    done
}

# amid_changes SERVER [KIND …]: the live state of these kinds, or of all, for ever: {"state": …}, the whole state, and then
# {"change": …} for each change, one a line. After a loss of changes or of the connection comes the whole state again;
# {"away": …} says why the server has none. Only a refusal ends it.
amid_changes() {
    local query line kind data
    query=$(jq -nr '$ARGS.positional | "server=\(.[0] | @uri)", (.[1:][] | "&kinds=\(@uri)")' --args -- "$@" | tr -d '\n')
    while :; do
        kind='' data=''
        while IFS= read -r line; do
            case $line in
                'event: '*) kind=${line#event: } ;;
                'data: '*) data=${line#data: } ;;
                '{'*) data=$line kind=refused ;;
                '')
                    [[ $data ]] && { printf '{"%s":%s}\n' "$kind" "$data" || return 0; }
                    kind='' data=''
                    ;;
            esac
        done < <(_amid_curl -N --speed-limit 1 --speed-time 15 "$AMID_URL/v1/state?$query" && echo)
        [[ $kind == refused && $data != *'"unreachable"'* ]] && { _amid_failed "$data"; return; }
        sleep 1
    done
}

_amid_curl() {
    local token=${AMID_TOKEN:-}
    [[ $token ]] || read -r token <"${AMID_TOKEN_FILE:?set AMID_TOKEN or AMID_TOKEN_FILE}" || return
    token=${token#Authorization: Bearer } # the file of curl -H @FILE has the whole header
    curl -sS --noproxy '*' -K <(printf 'header = "Authorization: Bearer %s"\n' "$token") "$@"
}

# What the gateway answered in place of a result: a JSON-RPC reply, its error alone, or words.
_amid_failed() {
    local error kind
    error=$(jq -ce '(.error // .) | if type == "object" then . else {message: ., data: {kind: "denied", sent: false}} end' <<<"$1" 2>/dev/null) ||
        error=$(jq -cn --arg message "no answer of amid's: $1" '{$message, data: {kind: "internal_error", sent: true}}')
    printf '%s\n' "$error" >&2
    kind=$(jq -r .data.kind <<<"$error")
    case $kind in
        action_failed) return 1 ;;
        invalid_params | unknown_method | invalid_request | parse_error) return 2 ;;
        timeout) return 3 ;;
        unreachable | not_connected | connection_lost | unknown_server) return 4 ;;
        denied) return 5 ;;
        busy) return 7 ;;
        too_large) return 8 ;;
        *) return 10 ;;
    esac
}

# curl's exit status: 6 and 7 are before a byte was sent; after that nobody knows.
_amid_unreachable() {
    local kind=unreachable sent=true
    (($1 == 28)) && kind=timeout
    (($1 == 6 || $1 == 7)) && sent=false
    _amid_failed "{\"message\": \"no answer from $AMID_URL (curl's exit status $1)\", \"data\": {\"kind\": \"$kind\", \"sent\": $sent}}"
}
