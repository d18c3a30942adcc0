"""Reads the files that a configuration names: secrets, keys, tokens and TLS files.

Their contents become part of the configuration, TLS files as a fingerprint, so that two
configurations are equal if and only if nothing has changed: SIGHUP notices a renewed file even if
amid.toml is unchanged. Invalid files are reported here, to the operator, instead of in a reader's
log.
"""

from __future__ import annotations

import codecs
import hashlib
import importlib.util
import os
import re
import ssl
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import inspect
from msgspec.structs import replace

from amid.config import permissions
from amid.config.convert import to_table
from amid.config.crosscheck import SHORT_SECRET, check_rules, check_users
from amid.config.read import UnreadableError, read_bytes, read_first_line, read_text, read_toml
from amid.config.report import Report
from amid.config.tables import Caller, Config, Curve, CurveKey, Gateway, Listener, Nats, Secret, Server, Table, Token
from amid.manager.users_file import read_users
from amid.rpc.requests import MAX_ON_BEHALF_LENGTH
from amid.rpc.type_words import describe_type

CREDENTIALS = "CREDENTIALS_DIRECTORY=/run/credentials/amid.service"
"""Where systemd keeps the credentials of the running service (systemd.exec(5), CREDENTIALS)."""
NATS_CREDENTIALS = re.compile(
    rb"BEGIN NATS USER JWT-+\n[\w-]+\.[\w-]+\.[\w-]+\n-+END NATS USER JWT.*BEGIN USER NKEY SEED-+\nSU[A-Z2-7]{56}\n", re.DOTALL
)
"""A credentials file as `nsc` writes it, and as strict as nats-py and nkeys read it."""
TLS_FILES = ("tls_ca", "tls_cert", "tls_key")

T = TypeVar("T", bound=Table)
WithTls = TypeVar("WithTls", Server, Listener, Nats)


def web_is_installed() -> bool:
    """Whether the packages of the extra `amid[web]` are installed, which the gateway needs."""
    return importlib.util.find_spec("uvicorn") is not None


def bus_is_installed() -> bool:
    """Whether the packages of the extra `amid[nats]` are installed, which the bus needs."""
    return importlib.util.find_spec("nats") is not None


class Resolver:
    """Reads the files that a configuration names. Paths are relative to `folder`."""

    def __init__(self, folder: Path, callers_group: int, report: Report) -> None:
        self._folder = folder
        self._callers_group = callers_group
        self._report = report

    def resolve(self, config: Config) -> Config:
        for name, caller in config.callers.items():
            if caller.key is not None:
                self._check_curve_key(caller.key, f"callers.{name}", "key")
        return replace(
            config,
            servers={name: self._server(name, server) for name, server in config.servers.items()},
            curve=self._curve(config.curve, config.callers),
            gateway=self._gateway(config.gateway, config.recorder is not None) if config.gateway else None,
            listener=self._listener(config.listener, config.servers) if config.listener else None,
            nats=self._nats(config.nats) if config.nats else None,
        )

    # ── servers ──

    def _server(self, name: str, server: Server) -> Server:
        table = f"servers.{name}"
        server = self._tls(server, table)
        if server.secret is None:
            file = self._folder / server.secret_file if server.secret_file else _credential(name)
            if file is None:
                what = f"no secret; set secret_file or secret, or provide a systemd credential named {name}.secret"
                self._report.refuse(table, "", f"{what} (only the service sees it; `amid check` needs {CREDENTIALS})")
                return server
            secret = self._secret(file, Secret, table, "secret_file")
            server = replace(server, secret=secret, secret_file=str(file))
        if server.secret and is_placeholder(server.secret):
            key = "secret_file" if server.secret_file else "secret"
            self._report.refuse(table, key, "contains the secret of an example; choose another secret for the manager user")
        elif server.secret and len(server.secret) < SHORT_SECRET:
            self._report.warn(
                table, "", f"a secret of fewer than {SHORT_SECRET} characters is easy to guess and is not masked in the log"
            )
        return server

    def _tls(self, server: WithTls, table: str) -> WithTls:
        files = {key: self._folder / named for key in TLS_FILES if (named := getattr(server, key, None))}
        server = replace(server, **{key: str(file) for key, file in files.items()})
        digest = hashlib.sha256()
        for key, file in files.items():
            if self._safe(file, table, key, secret=key == "tls_key"):
                try:
                    digest.update(_read_pem(file))
                except UnreadableError as error:
                    self._report.refuse(table, key, str(error))
                else:
                    self._try_tls(key, server, table)
        return replace(server, tls_fingerprint=digest.hexdigest() if files else "")

    def _try_tls(self, key: str, server: Server | Listener | Nats, table: str) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            if key == "tls_ca" and not isinstance(server, Listener):
                context.load_verify_locations(server.tls_ca)
            elif key == "tls_key" and server.tls_cert and server.tls_key:
                context.load_cert_chain(server.tls_cert, server.tls_key, password="")
        except OSError as error:  # includes ssl.SSLError
            if key == "tls_ca":
                why = "no certificate in PEM"
            elif getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
                why = "it is not the key of the certificate in tls_cert"
            else:
                why = "it or the file of tls_cert is not PEM, or the key has a password"
            self._report.refuse(table, key, f"cannot use {getattr(server, key)}: {why}")

    # ── the daemon's key, and the gateway's tokens ──

    def _curve(self, curve: Curve, callers: Mapping[str, Caller]) -> Curve:
        key = "secret_key"
        if curve.secret_key_file:
            key, file = "secret_key_file", self._folder / curve.secret_key_file
            secret = self._secret(file, CurveKey, "curve", key)
            curve = replace(curve, secret_key=secret, secret_key_file=str(file))
        if curve.secret_key is not None and self._check_curve_key(curve.secret_key, "curve", key):
            import zmq  # see `_check_curve_key`

            own = zmq.curve_public(curve.secret_key.encode()).decode()
            for name in [name for name, caller in callers.items() if caller.key in (own, curve.secret_key)]:
                what = f"is a key of the daemon itself ({key} in [curve]); make a pair for each of them with `amid keygen`"
                self._report.refuse(f"callers.{name}", "key", what)
        return curve

    def _check_curve_key(self, key: str, table: str, name: str) -> bool:
        """Decode a key, so that an invalid one is not found by a broker with open calls. Returns
        whether it is valid."""
        from zmq.utils import z85  # libzmq takes a tenth of the start, and few configurations have keys

        try:
            z85.decode(key)
        except (ValueError, KeyError, struct.error):  # not ASCII; invalid characters; a group over 32 bits
            self._report.refuse(table, name, "is not a Z85 key (ZeroMQ RFC 32); `amid keygen` makes one")
            return False
        return True

    def _gateway(self, gateway: Gateway, has_recorder: bool) -> Gateway:
        if not web_is_installed():
            self._report.refuse(
                "gateway", "", "needs packages that are not installed: run `pip install '.[web]'` in the source tree"
            )
        if gateway.tokens_file is None:
            self._report.refuse("gateway", "", "no client could use it: set tokens_file (etc/tokens.toml is an example)")
            return gateway
        file = self._folder / gateway.tokens_file
        if not self._safe(file, "gateway", "tokens_file", secret=True):
            return gateway
        return replace(gateway, tokens=self._tokens(file, has_recorder), tokens_file=str(file))

    def _tokens(self, file: Path, has_recorder: bool) -> dict[str, Token]:
        try:
            raw = read_toml(file)
        except UnreadableError as error:
            self._report.refuse("gateway", "tokens_file", str(error))
            return {}
        report = self._report.of_file(str(file))
        converted = {name: to_table(table, name, Token, report) for name, table in raw.items()}
        tokens = {name: token for name, token in converted.items() if token is not None}
        if not raw:
            report.refuse("", "", "has no table [NAME] with a token")
        for name in [name for name in raw if not 0 < len(name) <= MAX_ON_BEHALF_LENGTH]:
            report.refuse(name, "", f"a token's name is 1 to {MAX_ON_BEHALF_LENGTH} characters")
        first: dict[str, str] = {}
        for name, token in tokens.items():
            check_rules(token, name, report)
            if token.history and not has_recorder:
                report.warn(name, "history", f"has no effect without a table [recorder] in {self._report.source}")
            if (other := first.setdefault(token.token, name)) != name:
                report.refuse(name, "token", f"is already used in [{other}]; make one with `openssl rand -hex 24`")
            if is_placeholder(token.token):
                report.refuse(name, "token", "is the token of the example file; make one with `openssl rand -hex 24`")
        return tokens

    # ── users of the listener ──

    def _listener(self, listener: Listener, servers: Mapping[str, Server]) -> Listener:
        listener = self._tls(listener, "listener")
        if listener.users_file is None:
            self._report.refuse("listener", "", "users_file is missing; it has sections as in manager.conf")
            return listener
        file = self._folder / listener.users_file
        if not self._safe(file, "listener", "users_file", secret=True):
            return listener
        report = self._report.of_file(str(file))
        try:
            users, findings = read_users(read_text(file))
        except UnreadableError as error:
            self._report.refuse("listener", "users_file", str(error))
            return listener
        for section, key, what, refused in findings:
            (report.refuse if refused else report.warn)(section, key, what)
        if not users and not report.problems:
            report.refuse("", "", "has no section [NAME] with a secret")
        for name in [name for name, user in users.items() if is_placeholder(user.secret)]:
            report.refuse(name, "secret", "is the one of an example; give the user one of its own")
        for name in [name for name, user in users.items() if len(user.secret) < SHORT_SECRET]:
            report.warn(name, "secret", f"has under {SHORT_SECRET} characters: it is easily guessed, and shown in the log")
        listener = replace(listener, users=users, users_file=str(file))
        check_users(listener, servers, report)
        return listener

    # ── the bus ──

    def _nats(self, nats: Nats) -> Nats:
        if not bus_is_installed():
            self._report.refuse("nats", "", "needs what `pip install '.[nats]'` installs in the source tree")
        nats = self._tls(nats, "nats")
        if nats.credentials_file:
            file = self._folder / nats.credentials_file
            nats = replace(nats, credentials_file=str(file), tls_fingerprint=nats.tls_fingerprint + self._digest(file))
        if nats.password_file:
            file = self._folder / nats.password_file
            nats = replace(nats, password=self._secret(file, Secret, "nats", "password_file"), password_file=str(file))
        return nats

    def _digest(self, credentials: Path) -> str:
        if not self._safe(credentials, "nats", "credentials_file", secret=True):
            return ""
        try:
            data = read_bytes(credentials)
        except UnreadableError as error:
            self._report.refuse("nats", "credentials_file", str(error))
            return ""
        if not NATS_CREDENTIALS.search(data):
            self._report.refuse("nats", "credentials_file", f"{credentials} holds no JWT and seed of a NATS user")
        return hashlib.sha256(data).hexdigest()

    # ── files ──

    def _secret(self, file: Path, kind: object, table: str, key: str) -> str | None:
        """The first line of `file`; None when it is unusable, which is reported."""
        if not self._safe(file, table, key, secret=True):
            return None
        try:
            secret: str = msgspec.convert(read_first_line(file), kind)
        except UnreadableError as error:
            self._report.refuse(table, key, str(error))
        except msgspec.ValidationError:
            self._report.refuse(table, key, f"the first line of {file} must be {describe_type(inspect.type_info(kind))}")
        else:
            return secret
        return None

    def _safe(self, file: Path, table: str, key: str, *, secret: bool) -> bool:
        """Whether no other user can change `file`, nor read it if it is `secret`. Findings are
        reported."""
        safe = True
        for unsafe, what in permissions.check_file(file, secret=secret, callers_group=self._callers_group):
            (self._report.refuse if unsafe else self._report.warn)(table, key, f"{file} {what}")
            safe = safe and not unsafe
        return safe


def is_placeholder(secret: str) -> bool:
    """Whether a secret is a placeholder of the example files (etc/tokens.toml,
    etc/manager.conf.sample, etc/amid.toml)."""
    return secret.casefold().startswith("change-me") or secret == "…"


def _read_pem(file: Path) -> bytes:
    """The contents of a file that OpenSSL will read later. Raises `UnreadableError`."""
    if os.path.exists(file) and not os.path.isfile(file):
        raise UnreadableError(f"{file} is not a regular file")
    data = read_bytes(file)
    if data.startswith(codecs.BOM_UTF8):
        what = "begins with a byte-order mark, which OpenSSL cannot read; save it without one"
        raise UnreadableError(f"{file} {what}")
    return data


def _credential(server: str) -> Path | None:
    """The credential of a server in $CREDENTIALS_DIRECTORY, from systemd's LoadCredential=
    (systemd.exec(5))."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    file = Path(folder) / f"{server}.secret" if folder else None
    return file if file and os.path.lexists(file) else None
