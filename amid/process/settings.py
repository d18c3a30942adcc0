"""The settings of each child: the part of the configuration that it
needs, with secrets, sent on its stdin."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping

import msgspec

from amid.config.tables import Caller, Config, Curve, Gateway, Listener, Nats, Recorder, Rpc, Server, State
from amid.config.unix_users import LocalCaller, find_caller, local_callers
from amid.process.unix_socket import PRIVATE, SHARED


class ChildSettings(msgspec.Struct):
    """What every child needs."""

    run_dir: str
    log_level: str


class ReaderSettings(ChildSettings):
    """`epoch_origin` plus the monotonic clock, in milliseconds, gives an epoch. trace:
    the mode of the trace socket, or 0 for none."""

    name: str
    server: Server
    epoch_origin: int
    curve: Curve
    callers: dict[str, Caller]
    trace: int


class ServerLimits(msgspec.Struct):
    """What the broker needs to know about a server."""

    queue: int
    max_reply_bytes: int
    allow: list[str]
    deny: list[str]
    events_off: bool
    events_listen: list[str]
    stream_listen: list[str]


class BrokerSettings(ChildSettings):
    """services: names of the children that answer methods for the broker."""

    rpc: Rpc
    drain: float
    servers: dict[str, ServerLimits]
    callers: dict[str, Caller]
    local_callers: list[LocalCaller]
    curve: Curve
    services: list[str]


class Rules(msgspec.Struct):
    """The rules of a caller or of a server."""

    allow: list[str]
    deny: list[str]


class StateSettings(ChildSettings):
    """servers: the names of all. caller: the one that the process is to the broker. rules: for its
    actions, by server and by name of the table."""

    state: State
    servers: list[str]
    caller: str
    rules: dict[str, dict[str, Rules]]


class RecorderSettings(ChildSettings):
    """`directory` is the recorder's. `servers`: the names of all."""

    recorder: Recorder
    directory: str
    servers: list[str]


class GatewaySettings(ChildSettings):
    """servers: the names of all, so that a gateway is restarted when they change."""

    gateway: Gateway
    servers: list[str]


class BusSettings(ChildSettings):
    """instance: the name of this daemon on NATS. callers: those with a prefix there, and `local`."""

    nats: Nats
    instance: str
    servers: list[str]
    callers: dict[str, Caller]


def bus_settings(config: Config, nats: Nats) -> BusSettings:
    instance = nats.instance or re.sub(r"[^A-Za-z0-9._:/-]", "_", f"{socket.gethostname()}:{config.run_dir}")[:200]
    callers = {name: caller for name, caller in config.callers.items() if caller.nats or name == "local"}
    return BusSettings(config.run_dir, config.log_level, nats, instance, list(config.servers), callers)


def gateway_settings(config: Config, gateway: Gateway) -> GatewaySettings:
    return GatewaySettings(config.run_dir, config.log_level, gateway, list(config.servers))


def state_settings(config: Config) -> StateSettings:
    caller = find_caller(local_callers(config.callers), os.geteuid(), os.getegid())
    own = config.callers[caller]
    rules = {
        name: {f"[servers.{name}]": Rules(server.allow, server.deny), f"[callers.{caller}]": Rules(own.allow, own.deny)}
        for name, server in config.servers.items()
    }
    return StateSettings(config.run_dir, config.log_level, config.state, list(config.servers), caller, rules)


def recorder_settings(config: Config) -> RecorderSettings:
    """One that is run by hand needs no table of its own."""
    recorder = config.recorder or Recorder()
    return RecorderSettings(config.run_dir, config.log_level, recorder, config.recordings, list(config.servers))


class ListenerSettings(ChildSettings):
    """servers: the names of all servers."""

    listener: Listener
    servers: list[str]


def listener_settings(config: Config, listener: Listener) -> ListenerSettings:
    return ListenerSettings(config.run_dir, config.log_level, listener, list(config.servers))


def reader_settings(config: Config, name: str, epoch_origin: int) -> ReaderSettings:
    """Only a reader that listens on TCP gets the callers' keys, so
    that a changed key restarts no other."""
    server = config.servers[name]
    on_tcp = bool(server.events_listen or server.stream_listen)
    callers = {name: Caller(key=caller.key) for name, caller in config.callers.items() if on_tcp and caller.key}
    curve = config.curve if on_tcp else Curve()
    return ReaderSettings(config.run_dir, config.log_level, name, server, epoch_origin, curve, callers, _trace_mode(config.callers))


def _trace_mode(callers: Mapping[str, Caller]) -> int:
    """The trace shows the packets of all callers, and its subscribers are not authenticated."""
    if not callers["local"].admin:
        return 0
    return SHARED if all(caller.admin for caller in callers.values() if caller.user or caller.group) else PRIVATE


def broker_settings(config: Config) -> BrokerSettings:
    servers = {
        name: ServerLimits(
            server.queue,
            server.max_reply_bytes,
            server.allow,
            server.deny,
            server.events.lower() == "off",
            server.events_listen,
            server.stream_listen,
        )
        for name, server in config.servers.items()
    }
    return BrokerSettings(
        config.run_dir,
        config.log_level,
        config.rpc,
        config.supervision.drain,
        servers,
        config.callers,
        local_callers(config.callers),
        config.curve,
        [*(["state"] if config.state.enabled else []), *(["recorder"] if config.recorder else [])],
    )
