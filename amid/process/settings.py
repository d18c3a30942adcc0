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
    events: str
    events_listen: list[str]
    stream_listen: list[str]

    @property
    def events_off(self) -> bool:
        return self.events.lower() == "off"


class BrokerSettings(ChildSettings):
    """services: names of the children that answer methods for the broker."""

    rpc: Rpc
    drain: float
    servers: dict[str, ServerLimits]
    callers: dict[str, Caller]
    local_callers: list[LocalCaller]
    curve: Curve
    services: list[str]


class ClientSettings(ChildSettings):
    """What every child that is a client needs. servers: the names of all."""

    servers: list[str]


class Rules(msgspec.Struct):
    """The rules of a caller or of a server."""

    allow: list[str]
    deny: list[str]


class StateSettings(ClientSettings):
    """caller: the one that the process is to the broker. rules: for its actions, by server and by
    name of the table."""

    state: State
    caller: str
    rules: dict[str, dict[str, Rules]]


class RecorderSettings(ClientSettings):
    """directory: of the recordings."""

    recorder: Recorder
    directory: str


class GatewaySettings(ClientSettings):
    """`servers` is there so that a gateway is restarted when they change. records: whether there is
    a recorder."""

    gateway: Gateway
    records: bool


class ListenerSettings(ClientSettings):
    listener: Listener


class BusSettings(ClientSettings):
    """instance: the name of this daemon on NATS. callers: those with a prefix there, and `local`."""

    nats: Nats
    instance: str
    callers: dict[str, Caller]


def _for_client(config: Config) -> tuple[str, str, list[str]]:
    return config.run_dir, config.log_level, list(config.servers)


def bus_settings(config: Config, nats: Nats) -> BusSettings:
    instance = nats.instance or re.sub(r"[^A-Za-z0-9._:/-]", "_", f"{socket.gethostname()}:{config.run_dir}")[:200]
    callers = {name: caller for name, caller in config.callers.items() if caller.nats or name == "local"}
    return BusSettings(*_for_client(config), nats, instance, callers)


def gateway_settings(config: Config, gateway: Gateway) -> GatewaySettings:
    return GatewaySettings(*_for_client(config), gateway, config.recorder is not None)


def state_settings(config: Config) -> StateSettings:
    caller = find_caller(local_callers(config.callers), os.geteuid(), os.getegid())
    own = config.callers[caller]
    rules = {
        name: {f"[servers.{name}]": Rules(server.allow, server.deny), f"[callers.{caller}]": Rules(own.allow, own.deny)}
        for name, server in config.servers.items()
    }
    return StateSettings(*_for_client(config), config.state, caller, rules)


def recorder_settings(config: Config) -> RecorderSettings:
    """One that is run by hand needs no table of its own."""
    return RecorderSettings(*_for_client(config), config.recorder or Recorder(), config.recordings)


def listener_settings(config: Config, listener: Listener) -> ListenerSettings:
    return ListenerSettings(*_for_client(config), listener)


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
    return BrokerSettings(
        config.run_dir,
        config.log_level,
        config.rpc,
        config.supervision.drain,
        msgspec.convert(config.servers, dict[str, ServerLimits], from_attributes=True),
        config.callers,
        local_callers(config.callers),
        config.curve,
        [*(["state"] if config.state.enabled else []), *(["recorder"] if config.recorder else [])],
    )
