"""Checks of one key against others, and of what is right but careless. Nothing here reads a file."""

from __future__ import annotations

import difflib
import ipaddress
import os
from urllib.parse import urlsplit

from amid import wire
from amid.ami.catalogue import MAYBE_NO_RESPONSE, UNMARKED_LISTS
from amid.ami.targets import PLAIN, TABLES
from amid.config.report import Report
from amid.config.tables import Caller, Config, Gateway, Server, Token
from amid.rpc.policy import matches

MAX_SOCKET_PATH = 107
"""Bytes of a Unix socket's path (unix(7): sun_path is 108 with its NUL)."""
KNOWN_ACTIONS = sorted({*TABLES, *PLAIN, *UNMARKED_LISTS, *MAYBE_NO_RESPONSE})
"""Those of Asterisk 16 and 22, and of older ones as far as their answers are special. In lower case."""
SHORT_SECRET = 6
"""Characters; the log hides no secret that is shorter (`amid.process.log`)."""


def crosscheck(config: Config, report: Report) -> None:
    """`config` as it was converted, before any file that it names was read."""
    for name, server in config.servers.items():
        _check_server(server, f"servers.{name}", report)
        check_rules(server, f"servers.{name}", report)
    for name, caller in config.callers.items():
        check_rules(caller, f"callers.{name}", report)
    if not report.problems:  # a table with a problem stands at its default, and would seem to lack what it has
        _check_tcp(config, report)
    if config.gateway is not None:
        _check_gateway(config.gateway, report)
    local = config.callers.get("local")
    if local is not None and local.key is not None:
        report.refuse("callers.local", "key", "`local` is every program on the ipc socket and has no key; use another name")


def check_rules(lists: Caller | Server | Token, table: str, report: Report) -> None:
    """A rule that matches nothing is refused: in a `deny` it would look like a protection.

    A name that amid does not know is a warning alone, since modules of Asterisk may add actions.
    """
    for key, rules in (("allow", lists.allow), ("deny", lists.deny)):
        for rule in rules:
            action, colon, _ = rule.partition(":")
            if colon and action.strip().lower() in PLAIN:
                report.refuse(table, key, f"{rule!r} matches nothing: no pattern looks at a field of {action.strip()}")
            _check_name(action.strip(), table, key, report)


def _check_name(action: str, table: str, key: str, report: Report) -> None:
    if any(matches(action.lower(), known) for known in KNOWN_ACTIONS):
        return
    if "*" in action:
        report.warn(table, key, f"{action!r} matches no action that amid knows")
        return
    close = difflib.get_close_matches(action.lower(), KNOWN_ACTIONS, 1)
    meant = f"; did you mean {close[0]!r}?" if close else "; `amid actions` shows those of an Asterisk"
    report.warn(table, key, f"{action!r} is no action that amid knows{meant}")


def check_socket_paths(config: Config, report: Report) -> None:
    """`report` is on where run_dir comes from."""
    sockets = [wire.RPC_SOCKET, wire.READERS_SOCKET]
    for name in config.servers:
        sockets += [wire.events_socket(name), wire.stream_socket(name), wire.trace_socket(name)]
    longest = max((f"{config.run_dir}/{socket}" for socket in sockets), key=lambda path: len(os.fsencode(path)))
    length = len(os.fsencode(longest))
    if length > MAX_SOCKET_PATH:
        report.refuse("", "", f"too long: a socket's path may have {MAX_SOCKET_PATH} bytes, and {longest} has {length}")


def _check_server(server: Server, table: str, report: Report) -> None:
    if server.secret is not None and server.secret_file is not None:
        report.refuse(table, "", "both secret and secret_file; keep one")
    if server.reconnect_min > server.reconnect_max:
        report.refuse(table, "reconnect_min", "is over reconnect_max")
    if (server.tls_cert is None) != (server.tls_key is None):
        report.refuse(table, "tls_cert", "needs tls_key, and the other way round")
    files = [key for key in ("tls_ca", "tls_cert", "tls_key") if getattr(server, key)]
    if files and not server.tls:
        report.refuse(table, "tls", f"is false, so {', '.join(files)} would not be used")
    if server.tls and not server.tls_verify:
        report.warn(table, "tls_verify", "is false: amid accepts any certificate, so anybody between it and the PBX can read along")
    if not server.tls and server.auth == "plain":
        report.warn(table, "auth", 'is "plain" without TLS: the secret goes over the network in clear text; use "md5" or tls')
    if not server.tls and not is_loopback(server.host):
        report.warn(table, "tls", f"is false: calls and events go to {server.host} and back in clear text")


def _check_tcp(config: Config, report: Report) -> None:
    """TCP without CURVE is refused, for events too: they carry who calls whom."""
    listeners = {("rpc", "listen"): config.rpc.listen}
    for name, server in config.servers.items():
        listeners[f"servers.{name}", "events_listen"] = server.events_listen
        listeners[f"servers.{name}", "stream_listen"] = server.stream_listen
    for table, key in [where for where, endpoints in listeners.items() if endpoints]:
        if config.curve.secret_key is None and config.curve.secret_key_file is None:
            report.refuse(table, key, "TCP needs a key: give [curve] secret_key_file (`amid keygen` makes one)")
        if not any(caller.key for caller in config.callers.values()):
            report.refuse(table, key, "nobody could connect: give a caller its key in [callers.NAME]")


def _check_gateway(gateway: Gateway, report: Report) -> None:
    for address in [one for one in gateway.listen if not is_loopback(one.rpartition(":")[0])]:
        what = f"{address} is not on loopback, and the gateway has no TLS: tokens and answers go in clear text; put a proxy"
        report.warn("gateway", "listen", f"{what} with TLS before it, and listen on 127.0.0.1")
    clear = [o for o in gateway.origins if o.startswith("http://") and not is_loopback(urlsplit(o).hostname or "")]
    if clear:
        what = "a page that comes without TLS can be changed on its way, and has the rights of its user"
        report.warn("gateway", "origins", f"{', '.join(clear)}: {what}")


def is_loopback(host: str) -> bool:
    """Whether a host of the configuration is this machine. A name is not looked up."""
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"
