"""The HELP texts of metrics that are made from counters by name, in `status` and in the gateway. Pure."""

from __future__ import annotations

from collections.abc import Mapping

GATEWAY = {
    "requests_total": "HTTP requests to paths that require a token.",
    "abandoned_calls_total": "HTTP requests whose client disconnected before the answer.",
    "connections_strangers": "Open HTTP connections that have presented no valid token yet (max_strangers).",
    "connections_tokens": "Open HTTP connections that have presented a valid token.",
    "evicted_connections_total": "HTTP connections without a token that were closed to make room for newer ones.",
    "refused_tokens_total": "HTTP requests with a wrong token.",
    "events_total": "Events that the gateway has received for its streams.",
    "streams": "Open event streams (max_streams).",
}

BROKER = {
    "abandoned_calls": "Calls that ended because their caller disconnected.",
    "closed_connections": "Local connections that were closed because of what they sent; the log has the reasons.",
    "connections_without_request": "TCP connections that ended before their first request.",
    "late_answers": "Answers that came after the deadline of their call and were dropped.",
    "open_calls": "Calls that are open now.",
    "refused_connections": "Local connections that were refused because of a limit (max_connections_per_user, LimitNOFILE).",
    "requests": "Requests that the broker has received.",
    "requests_of_gone_callers": "Requests over TCP that were ignored because their caller had disconnected.",
    "too_large_requests": "Requests that were refused because of their size (max_request_bytes).",
    "undeliverable_answers": "Answers that were dropped because their caller had disconnected or read nothing.",
    "unreadable_messages": "Messages of amid's own processes that the broker could not read; each is a bug.",
}

READER = {
    "calls": "Actions that were given to a lane.",
    "disconnected_subscribers": "Subscribers that were disconnected because of their subscriptions or their number.",
    "event_sockets_reopened": "How often an event socket closed all connections, after too many subscriptions.",
    "events": "Events of the current event session, including those of amid itself.",
    "lanes_opened": "Action sessions that were opened.",
    "late_packets": "Packets of answers that came after their call had ended.",
    "published_messages": "Messages that were published on the event sockets.",
    "refused_connections": "Subscribers that were refused because no file descriptor was free (LimitNOFILE).",
    "sessions": "Event sessions that were opened.",
    "undeliverable_answers": "Answers that were not sent because the broker had gone.",
    "unknown_on_event_session": "Packets on the event session that are no events.",
    "unknown_packets": "Packets on action sessions that belong to no call.",
}

LISTENER = {
    "actions": "Actions that AMI clients have sent to Asterisk.",
    "clients": "Connected AMI clients that have logged in.",
    "connections": "Connections that the AMI listener has accepted.",
    "events_sent": "Events that were sent to AMI clients, of all clients together.",
    "failed_logins": "Logins of AMI clients that were refused.",
    "logins": "Logins of AMI clients that succeeded.",
    "missed_events": "Events that the AMI listener itself missed, so its clients do not get them.",
    "refused_connections": "AMI connections that were closed because of auth_limit or max_clients.",
    "slow_clients_closed": "AMI clients that were closed because they did not read their events.",
    "unauthenticated_clients": "Connected AMI clients that have not logged in yet.",
    "unread_bytes": "Bytes that were sent to AMI clients and that they have not read yet.",
}


def text_of(texts: Mapping[str, str], name: str) -> str:
    return texts.get(name, f"The counter {name} of `amid status`.")
