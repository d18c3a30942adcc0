"""An operator, an account and users of NATS as JWTs, like those of `nsc`, and credentials files of
them."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

import nkeys


class Identity:
    """A key pair. kind: the nkeys prefix of an operator, an account or a user."""

    def __init__(self, kind: int) -> None:
        self.seed = nkeys.encode_seed(os.urandom(32), kind)
        self._pair = nkeys.from_seed(bytearray(self.seed))
        self.public = self._pair.public_key.decode()

    def sign(self, subject: str, name: str, nats: dict[str, Any]) -> str:
        """A JWT about `subject` (nats-io/jwt, version 2)."""
        claims = {"iat": int(time.time()), "iss": self.public, "name": name, "sub": subject, "nats": {**nats, "version": 2}}
        claims["jti"] = base64.b32encode(hashlib.sha256(json.dumps(claims).encode()).digest()).decode().rstrip("=")
        head = _encode(json.dumps({"typ": "JWT", "alg": "ed25519-nkey"}).encode())
        body = f"{head}.{_encode(json.dumps(claims).encode())}"
        return f"{body}.{_encode(self._pair.sign(body.encode()))}"


class Operator:
    """An operator with a JetStream account, and the system account that JetStream needs.

    configuration: text for nats-server's file.
    """

    def __init__(self) -> None:
        operator = Identity(nkeys.PREFIX_BYTE_OPERATOR)
        self._account = Identity(nkeys.PREFIX_BYTE_ACCOUNT)
        limits = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf", "mem_storage", "disk_storage"), -1)
        limits |= {"streams": -1, "consumer": -1, "wildcards": True}
        system = Identity(nkeys.PREFIX_BYTE_ACCOUNT)
        without_store = limits | {"mem_storage": 0, "disk_storage": 0}
        accounts = {
            self._account.public: operator.sign(self._account.public, "site", {"type": "account", "limits": limits}),
            system.public: operator.sign(system.public, "SYS", {"type": "account", "limits": without_store}),
        }
        signed = operator.sign(operator.public, "operator", {"type": "operator", "system_account": system.public})
        preload = "\n".join(f"{name}: {account}" for name, account in accounts.items())
        self.configuration = f"operator: {signed}\nresolver: MEMORY\nresolver_preload: {{\n{preload}\n}}\n"

    def credentials(self, file: Path, name: str, publish: list[str], subscribe: list[str]) -> Path:
        """Write the credentials file of a user with these rights."""
        user = Identity(nkeys.PREFIX_BYTE_USER)
        rights = {
            "pub": {"allow": publish},
            "sub": {"allow": subscribe},
            "resp": {"max": 1, "ttl": 3600 * 10**9},
            "subs": -1,
            "data": -1,
            "payload": -1,
        }
        jwt = self._account.sign(user.public, name, {"type": "user", **rights})
        file.touch(0o600)
        file.write_text(
            f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{user.seed.decode()}\n------END USER NKEY SEED------\n"
        )
        return file


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
