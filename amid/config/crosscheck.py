"""Checks of keys against each other, and warnings about valid but unsafe values. Reads no files."""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from amid import wire
from amid.ami.catalogue import MAYBE_NO_RESPONSE, UNMARKED_LISTS
from amid.ami.targets import PLAIN, TABLES
from amid.config.report import Report
from amid.config.tables import Caller, Config, Gateway, Listener, Nats, Server
from amid.errors import configured_servers
from amid.manager.classes import not_a_class, unknown_in_event_mask
from amid.rpc.policy import Lists, matches

MAX_SOCKET_PATH = 107
"""The longest path of a Unix socket in bytes (unix(7): sun_path has 108 with its NUL)."""
KNOWN_ACTIONS = sorted({*TABLES, *PLAIN, *UNMARKED_LISTS, *MAYBE_NO_RESPONSE})
"""The actions of Asterisk 16 and 22, and those of older versions that need special handling, in
lower case."""
TO_EXTENSIONS = frozenset({"redirect", "atxfer", "blindtransfer", "dialplanextensionremove", "showdialplan"})
"""The actions with extensions for their only targets."""
_CONTEXT = re.compile(r"default|[\w-]+-[\w-]*", re.IGNORECASE)
"""A pattern for an application that is the name of a context: no application of Asterisk has a dash."""
MIN_REPLAY_BYTES = 128 * 1024
"""The smallest replay buffer in bytes: one read of events from Asterisk and its bookkeeping. A
smaller buffer would hold no events."""
SHORT_SECRET = 6
"""The shortest secret in characters that the log masks (`amid.process.log`)."""


def crosscheck(config: Config, report: Report) -> None:
    """Check a converted configuration, before the files that it names are read."""
    for name, server in config.servers.items():
        _check_server(server, f"servers.{name}", report)
        check_rules(server, f"servers.{name}", report)
    for name, caller in config.callers.items():
        check_rules(caller, f"callers.{name}", report)
        if name != "local" and not (caller.user or caller.group or caller.key or caller.nats):
            report.warn(f"callers.{name}", "", "applies to nobody: it needs user, group, key or nats")
        if caller.nats and config.nats is None:
            report.warn(f"callers.{name}", "nats", "has no effect without a table [nats]")
        if caller.history and config.recorder is None:
            report.warn(f"callers.{name}", "history", "has no effect without a table [recorder]")
        if caller.key and not _tcp_endpoints(config):
            report.warn(
                f"callers.{name}", "key", "has no effect without listen in [rpc], or events_listen or stream_listen of a server"
            )
    if not report.problems:  # tables with a problem have their defaults and would cause misleading reports
        _check_tcp(config, report)
        _check_addresses(config, report)
    if config.gateway is not None:
        _check_gateway(config.gateway, report)
    if config.listener is not None:
        _check_listener(config.listener, report)
    if config.nats is not None:
        _check_nats(config.nats, report)
    _check_identities(config.callers, report)
    if config.curve.secret_key is not None and config.curve.secret_key_file is not None:
        report.refuse("curve", "", "has both secret_key and secret_key_file; remove one")


def check_rules(lists: Lists, table: str, report: Report) -> None:
    """Check rules. A rule that can never match is refused, because in `deny` it would look like
    protection.

    An unknown action is only a warning, since Asterisk modules may add actions.
    """
    for key, rules in (("allow", lists.allow), ("deny", lists.deny)):
        for rule in rules:
            action, colon, pattern = (part.strip() for part in rule.partition(":"))
            if colon and action.lower() in PLAIN:
                report.refuse(table, key, f"{rule!r} matches nothing: {action} has no field that a pattern is compared with")
            of_context = f"for the extensions of a context, write '{action}: *@{pattern}'"
            if colon and action.lower() in TO_EXTENSIONS and not set("@*") & set(pattern):
                report.refuse(table, key, f"{rule!r} matches nothing: the target has the form EXTENSION@CONTEXT; {of_context}")
            elif action.lower() == "originate" and _CONTEXT.fullmatch(pattern):
                report.warn(table, key, f"{rule!r} is a rule for an application; {of_context}")
            _check_name(action, table, key, report)


def _check_name(action: str, table: str, key: str, report: Report) -> None:
    if any(matches(action.lower(), known) for known in KNOWN_ACTIONS):
        return
    if "*" in action:
        report.warn(table, key, f"{action!r} matches no known action")
        return
    close = difflib.get_close_matches(action.lower(), KNOWN_ACTIONS, 1)
    meant = f"; did you mean {close[0]!r}?" if close else "; `amid actions` lists the actions of an Asterisk"
    report.warn(table, key, f"{action!r} is not a known action{meant}")


def check_socket_paths(config: Config, report: Report) -> None:
    """Check that socket paths are not too long. `report` is for the source of run_dir."""
    sockets = [wire.RPC_SOCKET, wire.READERS_SOCKET]
    for name in config.servers:
        sockets += [wire.events_socket(name), wire.stream_socket(name), wire.trace_socket(name)]
    longest = max((f"{config.run_dir}/{socket}" for socket in sockets), key=lambda path: len(os.fsencode(path)))
    length = len(os.fsencode(longest))
    if length > MAX_SOCKET_PATH:
        report.refuse("", "", f"too long: a socket's path may have {MAX_SOCKET_PATH} bytes, and {longest} has {length}")


def _check_server(server: Server, table: str, report: Report) -> None:
    if server.secret is not None and server.secret_file is not None:
        report.refuse(table, "", "has both secret and secret_file; remove one")
    for element in unknown_in_event_mask(server.events.encode()):
        report.refuse(table, "events", not_a_class(element))
    if server.replay_bytes < MIN_REPLAY_BYTES:
        report.refuse(table, "replay_bytes", f"must be at least {MIN_REPLAY_BYTES:,}: clients receive events from this buffer")
    if server.reconnect_min > server.reconnect_max:
        report.refuse(table, "reconnect_min", "is greater than reconnect_max")
    if (server.tls_cert is None) != (server.tls_key is None):
        report.refuse(table, "tls_cert", "must be set together with tls_key")
    files = [key for key in ("tls_ca", "tls_cert", "tls_key") if getattr(server, key)]
    if files and not server.tls:
        report.refuse(table, "tls", f"is false, so {', '.join(files)} would be unused")
    if server.tls and not server.tls_verify:
        report.warn(
            table,
            "tls_verify",
            "is false: any certificate is accepted, so an attacker between amid and the PBX can read and change traffic",
        )
    if not server.tls and server.auth == "plain":
        report.warn(table, "auth", 'is "plain" without TLS: the secret is sent in clear text; use "md5" or tls')
    if not server.tls and not is_loopback(server.host):
        report.warn(table, "tls", f"is false: calls and events to and from {server.host} are sent in clear text")


def _tcp_endpoints(config: Config) -> dict[tuple[str, str], Sequence[str]]:
    """The TCP endpoints for calls and events by table and key, of those that have some."""
    listeners: dict[tuple[str, str], Sequence[str]] = {("rpc", "listen"): config.rpc.listen}
    for name, server in config.servers.items():
        listeners[f"servers.{name}", "events_listen"] = server.events_listen
        listeners[f"servers.{name}", "stream_listen"] = server.stream_listen
    return {where: endpoints for where, endpoints in listeners.items() if endpoints}


def _check_addresses(config: Config, report: Report) -> None:
    """Refuse an address on which amid listens for another key, or Asterisk does: it would stay in use."""
    listening = _tcp_endpoints(config)
    if config.gateway is not None:
        listening["gateway", "listen"] = config.gateway.listen
    if config.listener is not None:
        listening["listener", "listen"] = config.listener.listen
        listening["listener", "tls_listen"] = config.listener.tls_listen
    users = {
        f"the Asterisk of [servers.{name}]": [address]
        for name, server in config.servers.items()
        if (address := _local_address(server))
    }
    for (table, key), addresses in listening.items():
        for address in addresses:
            user = next((user for user, used in users.items() if any(_overlap(address, other) for other in used)), None)
            if user is not None:
                report.refuse(table, key, f"{address} is already in use by {user}; choose another port")
        users[f"{key} in [{table}]"] = list(addresses)


def _local_address(server: Server) -> str | None:
    """The address of a server on this machine; None for another machine."""
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"{host}:{server.tcp_port}" if is_loopback(server.host) else None


def _overlap(one: str, other: str) -> bool:
    """Whether no two programs could listen on these addresses: equal, or one with all addresses of its
    family."""
    (host, _, port), (host2, _, port2) = (
        each.removeprefix("tcp://").replace("*", "0.0.0.0").rpartition(":") for each in (one, other)
    )
    wildcard = "[::]" if "[" in host else "0.0.0.0"
    same_family = host.startswith("[") == host2.startswith("[")
    return port == port2 and (host == host2 or (same_family and wildcard in (host, host2)))


def _check_tcp(config: Config, report: Report) -> None:
    """Refuse TCP without CURVE, for events too: they contain telephone numbers."""
    for table, key in _tcp_endpoints(config):
        if config.curve.secret_key is None and config.curve.secret_key_file is None:
            report.refuse(table, key, "TCP needs a key: set secret_key_file in [curve] (`amid keygen` makes one)")
        if not any(caller.key for caller in config.callers.values()):
            report.refuse(table, key, "no client could connect: set the key of a caller in [callers.NAME]")


def _check_gateway(gateway: Gateway, report: Report) -> None:
    for address in [one for one in gateway.listen if not is_loopback(one.rpartition(":")[0])]:
        what = f"{address} is not on loopback, and the gateway has no TLS: tokens and responses are sent in clear text; listen"
        report.warn("gateway", "listen", f"{what} on 127.0.0.1 and put a TLS proxy in front of it")
    clear = [o for o in gateway.origins if o.startswith("http://") and not is_loopback(urlsplit(o).hostname or "")]
    if clear:
        what = "a page that is loaded without TLS can be modified in transit, and it acts with its user's rights"
        report.warn("gateway", "origins", f"{', '.join(clear)}: {what}")


def _check_listener(listener: Listener, report: Report) -> None:
    if not listener.listen and not listener.tls_listen:
        report.refuse("listener", "listen", "is empty, as is tls_listen; give one of them an address")
    if (listener.tls_cert is None) != (listener.tls_key is None):
        report.refuse("listener", "tls_cert", "needs tls_key, and vice versa")
    if listener.tls_listen and listener.tls_cert is None:
        report.refuse("listener", "tls_listen", "needs tls_cert and tls_key")
    if listener.tls_cert and not listener.tls_listen:
        report.refuse("listener", "tls_cert", "has no effect, because tls_listen is empty")
    for address in [one for one in listener.listen if not is_loopback(one.rpartition(":")[0])]:
        what = f"{address} is not on loopback: secrets, calls and events are sent in clear text; use tls_listen"
        report.warn("listener", "listen", what)


def check_users(listener: Listener, servers: Mapping[str, Server], report: Report) -> None:
    """Check the rules and servers of the listener's users."""
    for name, user in listener.users.items():
        check_rules(user, name, report)
        if user.server and user.server not in servers:
            report.refuse(name, "server", f"there is no server {user.server!r}; {configured_servers(servers)}")
        if not user.server and len(servers) > 1:
            report.refuse(name, "server", f"is missing: name one of {', '.join(servers)}")


def _check_nats(nats: Nats, report: Report) -> None:
    if nats.credentials_file and (nats.user or nats.password_file):
        report.refuse("nats", "credentials_file", "excludes user and password_file")
    if (nats.user is None) != (nats.password_file is None):
        report.refuse("nats", "user", "needs password_file, and vice versa")
    if (nats.tls_cert is None) != (nats.tls_key is None):
        report.refuse("nats", "tls_cert", "needs tls_key, and vice versa")
    far = [server for server in nats.servers if not is_loopback(urlsplit(server).hostname or "")]
    if far and not nats.tls:
        report.warn("nats", "servers", f"without TLS, calls and events go to {', '.join(far)} in clear text; use tls://")
    elif far and not (nats.credentials_file or nats.user or nats.tls_cert):
        report.warn("nats", "", "gives no credentials: a NATS server without them lets every program read events and send calls")


def _check_identities(callers: dict[str, Caller], report: Report) -> None:
    """Refuse a key, or a prefix on NATS, that two callers have: one of them would get the rights of
    the other."""
    of_local = {
        "key": "`local` stands for all programs on the ipc socket and has no key; use another name",
        "nats": "`local` has the prefix of [nats] itself; use another name",
    }
    seen: dict[tuple[str, str], str] = {}
    for name, caller in callers.items():
        for key, value in (("key", caller.key), ("nats", caller.nats)):
            if value is None:
                continue
            if name == "local":
                report.refuse("callers.local", key, of_local[key])
            elif (other := seen.setdefault((key, value), name)) != name:
                report.refuse(f"callers.{name}", key, f"is already used in [callers.{other}]")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine. Names are not resolved."""
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"
