"""What the supervisor hands to each child on its stdin: the part of the configuration that the child needs, secrets included."""

from __future__ import annotations

import msgspec

from amid.config import Caller, Config, Rpc, Server


class ReaderSettings(msgspec.Struct):
    """`epoch_origin` plus the monotonic clock, in milliseconds, gives an epoch."""

    name: str
    run_dir: str
    log_level: str
    server: Server
    epoch_origin: int


class ServerLimits(msgspec.Struct):
    """What the broker needs to know of a server."""

    queue: int
    max_reply_bytes: int
    allow: list[str]
    deny: list[str]


class BrokerSettings(msgspec.Struct):
    run_dir: str
    log_level: str
    rpc: Rpc
    drain: float
    servers: dict[str, ServerLimits]
    callers: dict[str, Caller]


def reader_settings(config: Config, name: str, epoch_origin: int) -> ReaderSettings:
    return ReaderSettings(name, config.run_dir, config.log_level, config.servers[name], epoch_origin)


def broker_settings(config: Config) -> BrokerSettings:
    servers = {
        name: ServerLimits(server.queue, server.max_reply_bytes, server.allow, server.deny)
        for name, server in config.servers.items()
    }
    return BrokerSettings(config.run_dir, config.log_level, config.rpc, config.supervision.drain, servers, config.callers)
