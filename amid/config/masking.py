"""Masks the secrets of a configuration."""

from __future__ import annotations

from typing import Any

import msgspec

from amid.config.tables import Config

MASK = "***"


def shown(config: Config) -> dict[str, Any]:
    """The effective configuration with secrets masked."""
    plain: dict[str, Any] = msgspec.to_builtins(config)
    for name, server in plain["servers"].items():
        server["secret"] = MASK
        server["port"] = config.servers[name].tcp_port
        del server["tls_fingerprint"]
    if config.curve.secret_key:
        plain["curve"]["secret_key"] = MASK
    for token in plain["gateway"]["tokens"].values() if plain["gateway"] else ():
        token["token"] = MASK
    if plain["recorder"]:
        plain["recorder"]["directory"] = config.recordings
    if plain["listener"]:
        del plain["listener"]["tls_fingerprint"]
        for user in plain["listener"]["users"].values():
            user["secret"] = MASK
    if plain["nats"]:
        plain["nats"]["password"] = MASK if config.nats and config.nats.password else None
        del plain["nats"]["tls_fingerprint"]
    return plain


def secrets_of(config: Config) -> list[str | None]:
    """The secrets that logs must mask."""
    tokens = config.gateway.tokens.values() if config.gateway else ()
    users = config.listener.users.values() if config.listener else ()
    return [
        config.curve.secret_key,
        config.nats.password if config.nats else None,
        *(server.secret for server in config.servers.values()),
        *(token.token for token in tokens),
        *(user.secret for user in users),
    ]
