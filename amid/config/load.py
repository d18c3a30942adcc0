"""Reading the file and checking it: every problem is found, and each is named by file, table and key.

Secrets come from a file of their own, from a systemd credential, or inline; they are masked wherever a configuration is shown.
"""

from __future__ import annotations

import difflib
import importlib.util
import os
import re
import ssl
import stat
import struct
import tomllib
from pathlib import Path
from typing import Any

import msgspec
from zmq.utils import z85

from amid.config.tables import FORMS, Caller, Config, Curve, CurveKey, Gateway, Rpc, Server, Supervision, Table, Token

DEFAULT_FILE = "/etc/amid/amid.toml"
SERVER_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")
MAX_SOCKET_PATH = 107
"""Bytes of a Unix socket's path (unix(7): sun_path is 108 with its NUL)."""


class ConfigError(Exception):
    """What is wrong with the configuration, one problem a line, each with file, table and key."""


def load(path: Path) -> Config:
    """Read and check the file at `path`, secrets included. Raises `ConfigError`."""
    try:
        raw = tomllib.loads(path.read_text())
    except PermissionError as error:
        raise ConfigError(f"{path}: {_why(error)}") from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; write one (etc/amid.toml shows every key) or name it with -c") from None
    except (ValueError, RecursionError) as error:  # also UTF-8, a number of thousands of digits, and nesting
        raise ConfigError(f"{path}: not TOML: {error}") from None
    return check(raw, str(path), path.parent)


def check(raw: dict[str, Any], source: str, folder: Path) -> Config:
    """The configuration in `raw`. `source`: what errors call it; `folder`: where secret files are. Raises `ConfigError`."""
    problems: list[str] = []
    tables = dict(raw)
    groups: dict[str, Any] = {
        "servers": _group(tables.pop("servers", {}), "servers", Server, source, problems),
        "callers": _group(tables.pop("callers", {}), "callers", Caller, source, problems),
    }
    for name, kind in (("rpc", Rpc), ("supervision", Supervision), ("curve", Curve)):
        groups[name] = _table(tables.pop(name, {}), name, kind, source, problems)
    groups["gateway"] = _gateway(tables.pop("gateway", None), source, folder, problems)
    tables.setdefault("run_dir", default_run_dir())
    top: Config | None = _table(tables, "", Config, source, problems)
    if not groups["servers"] and "servers" not in raw:
        problems.append(f"{source}: no server: add a table [servers.NAME] with host, username and secret or secret_file")
    servers = {
        name: _with_secret(server, f"{source}: [servers.{name}]", name, folder, problems)
        for name, server in groups["servers"].items()
    }
    _check_sockets(tables["run_dir"], servers, source, problems)
    _check_tcp(groups, source, folder, problems)
    _check_keys(groups, source, problems)
    if problems or top is None:
        raise ConfigError("\n".join(problems))
    groups["callers"].setdefault("local", Caller(admin=True))
    return msgspec.structs.replace(top, **{**groups, "servers": servers})


def shown(config: Config) -> dict[str, Any]:
    """The configuration as it is in effect, secrets masked."""
    plain: dict[str, Any] = msgspec.to_builtins(config)
    for server in plain["servers"].values():
        server["secret"] = "***"
    if config.curve.secret_key:
        plain["curve"]["secret_key"] = "***"
    for token in plain["gateway"]["tokens"].values() if plain["gateway"] else ():
        token["token"] = "***"
    return plain


def secrets_of(config: Config) -> list[str | None]:
    """What no log may show."""
    tokens = config.gateway.tokens.values() if config.gateway else ()
    return [config.curve.secret_key, *(server.secret for server in config.servers.values()), *(token.token for token in tokens)]


def default_run_dir() -> str:
    """AMID_RUN_DIR, where programs will look first; /run/amid for root and services, else the user's own runtime directory."""
    named, own = os.environ.get("AMID_RUN_DIR"), os.environ.get("XDG_RUNTIME_DIR", "")
    if named:
        return os.path.abspath(named)
    return f"{own}/amid" if own.startswith("/") and os.getuid() != 0 else "/run/amid"


def _group(raw: Any, name: str, kind: type[Table], source: str, problems: list[str]) -> dict[str, Any]:
    if not isinstance(raw, dict):
        problems.append(f"{source}: {name} must be tables [{name}.NAME], not {type(raw).__name__}")
        return {}
    checked = {}
    for key, value in raw.items():
        if not SERVER_NAME.fullmatch(key):
            problems.append(f"{source}: [{name}.{key}]: a name is 1 to 32 letters, digits, '-' and '_'")
        table = _table(value, f"{name}.{key}", kind, source, problems)
        if table is not None:
            checked[key] = table
    return checked


def _table(raw: Any, name: str, kind: type[Table], source: str, problems: list[str]) -> Any:
    where = f"{source}: [{name}]" if name else source
    if not isinstance(raw, dict):
        problems.append(f"{where}: must be a table, not {type(raw).__name__}")
        return None
    unknown = [key for key in raw if key not in kind.__struct_fields__]
    problems += [f"{where} {key}: unknown key{_meant(key, kind.__struct_fields__)}" for key in unknown]
    for key in kind.__struct_fields__:
        if key in raw:
            _check_key(raw[key], kind, key, where, problems)
    known = {key: value for key, value in raw.items() if key not in unknown}
    try:
        return msgspec.convert(known, kind)
    except msgspec.ValidationError as error:
        if "missing required field" in str(error):
            problems.append(f"{where}: {str(error).split(' - at')[0].replace('Object ', '').replace('`', chr(39))}")
        return None


def _check_key(value: Any, kind: type[Table], key: str, where: str, problems: list[str]) -> None:
    field_type = next(f.type for f in msgspec.structs.fields(kind) if f.name == key)
    try:
        msgspec.convert(value, field_type)
    except msgspec.ValidationError as error:
        what = str(error).split(" - at")[0].replace("`", "'")
        if "matching regex" in what:
            what = f"must be {FORMS[key]}"
        problems.append(f"{where} {key}: {what[0].lower()}{what[1:]}")


def _meant(key: str, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(key, known, 1)
    return f"; did you mean {close[0]!r}?" if close else f" (known: {', '.join(known)})"


def _with_secret(server: Server, where: str, name: str, folder: Path, problems: list[str]) -> Server:
    """The server with its secret read from wherever it is."""
    if server.secret is not None and server.secret_file is not None:
        problems.append(f"{where}: both secret and secret_file; keep one")
        return server
    if server.reconnect_min > server.reconnect_max:
        problems.append(f"{where} reconnect_min: is over reconnect_max")
    if (server.tls_cert is None) != (server.tls_key is None):
        problems.append(f"{where} tls_cert: needs tls_key, and the other way round")
    server = _with_tls(server, where, folder, problems)
    if server.secret is not None:
        return server
    file = folder / server.secret_file if server.secret_file else _credential(name)
    if file is None:
        problems.append(f"{where}: no secret; give secret_file, secret, or a systemd credential named {name}.secret")
        return server
    try:
        return msgspec.structs.replace(server, secret=read_secret(file))
    except ConfigError as error:
        problems.append(f"{where} secret_file: {error}")
        return server


def _with_tls(server: Server, where: str, folder: Path, problems: list[str]) -> Server:
    """The server with its files found, and tried: here a person sees the error, in a reader it would be the log."""
    files = {key: folder / named for key in ("tls_ca", "tls_cert", "tls_key") if (named := getattr(server, key))}
    if files and not server.tls:
        problems.append(f"{where} tls: is false, so {', '.join(files)} would not be used")
    server = msgspec.structs.replace(server, **{key: str(file) for key, file in files.items()})
    problems += [f"{where} {key}: {said}" for key, file in files.items() if (said := _unusable(key, file, server))]
    return server


def _unusable(key: str, file: Path, server: Server) -> str:
    """What is wrong with one of the server's TLS files; "" when nothing is."""
    try:
        if key == "tls_key" and (said := _open_to_all(file)):
            return said
        file.read_bytes()
    except OSError as error:
        return f"{file}: {_why(error)}"
    return "" if not server.tls or _loads(key, server) else f"{file} holds none, or one that needs a password or belongs to another"


def _loads(key: str, server: Server) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if key == "tls_ca":
            context.load_verify_locations(server.tls_ca)
        elif key == "tls_key" and server.tls_cert and server.tls_key:
            context.load_cert_chain(server.tls_cert, server.tls_key, password="")
    except OSError:  # ssl.SSLError is one
        return False
    return True


def _credential(server: str) -> Path | None:
    """systemd's LoadCredential= puts its files into $CREDENTIALS_DIRECTORY (systemd.exec(5))."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    file = Path(folder) / f"{server}.secret" if folder else None
    return file if file and file.exists() else None


def web_is_installed() -> bool:
    """Whether what `amid[web]` adds is there; without it there is no gateway."""
    return importlib.util.find_spec("uvicorn") is not None


def _gateway(raw: Any, source: str, folder: Path, problems: list[str]) -> Gateway | None:
    """The gateway with its tokens read from their file. Without [gateway] there is none."""
    if raw is None:
        return None
    where = f"{source}: [gateway]"
    gateway: Gateway | None = _table(raw, "gateway", Gateway, source, problems)
    if gateway is None:
        return None
    if not web_is_installed():
        problems.append(f"{where}: needs what `pip install 'amid[web]'` installs")
    if gateway.tokens:
        problems.append(f"{where} tokens: belong into a file of their own; name it with tokens_file")
    if gateway.tokens_file is None:
        problems.append(f"{where}: nobody could use it: give tokens_file (etc/tokens.toml shows one)")
        return gateway
    return msgspec.structs.replace(gateway, tokens=_tokens(folder / gateway.tokens_file, f"{where} tokens_file", problems))


def _tokens(file: Path, where: str, problems: list[str]) -> dict[str, Token]:
    try:
        if said := _open_to_all(file):
            problems.append(f"{where}: {said}")
        raw = tomllib.loads(file.read_text())
    except (OSError, ValueError, RecursionError) as error:
        problems.append(f"{where}: {file}: {_why(error)}")
        return {}
    tokens = {name: _table(table, name, Token, str(file), problems) for name, table in raw.items()}
    if not tokens:
        problems.append(f"{where}: {file} has no table [NAME] with a token")
    words = [token.token for token in tokens.values() if token is not None]
    if len(set(words)) < len(words):
        problems.append(f"{where}: {file}: two names have the same token")
    return {name: token for name, token in tokens.items() if token is not None}


def _open_to_all(file: Path) -> str:
    """What is wrong with a file of secrets that everybody can read; "" when that is not so. Raises `OSError`."""
    return f"{file} can be read by everybody; chmod o-r {file}" if file.stat().st_mode & stat.S_IROTH else ""


def _why(error: Exception) -> str:
    """What is wrong with a file, in words."""
    if isinstance(error, PermissionError):
        return "this user may not read it"
    return getattr(error, "strerror", None) or str(error)


def read_secret(file: Path) -> str:
    """The first line of `file`. Raises `ConfigError` when others may read it."""
    try:
        if said := _open_to_all(file):
            raise ConfigError(said)
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: {_why(error)}") from None
    if not lines or not lines[0]:
        raise ConfigError(f"{file} is empty")
    return lines[0]


def _check_tcp(groups: dict[str, Any], source: str, folder: Path, problems: list[str]) -> None:
    """TCP without CURVE is refused, for events too: they carry who calls whom."""
    curve: Curve | None = groups["curve"]
    if curve is None or groups["rpc"] is None:
        return
    if curve.secret_key_file:
        try:
            secret = msgspec.convert(read_secret(folder / curve.secret_key_file), CurveKey)
            groups["curve"] = msgspec.structs.replace(curve, secret_key=secret)
        except (ConfigError, msgspec.ValidationError) as error:
            problems.append(f"{source}: [curve] secret_key_file: {error}; `amid keygen` makes one")
    listeners = {"[rpc] listen": groups["rpc"].listen}
    for name, server in groups["servers"].items():
        listeners[f"[servers.{name}] events_listen"] = server.events_listen
        listeners[f"[servers.{name}] stream_listen"] = server.stream_listen
    for where in [where for where, endpoints in listeners.items() if endpoints]:
        if groups["curve"].secret_key is None and not curve.secret_key_file:
            problems.append(f"{source}: {where}: TCP needs a key: give [curve] secret_key_file (`amid keygen` makes one)")
        if not any(caller.key for caller in groups["callers"].values()):
            problems.append(f"{source}: {where}: nobody could connect: give a caller its key in [callers.NAME]")
    local = groups["callers"].get("local")
    if local is not None and local.key is not None:
        problems.append(f"{source}: [callers.local] key: `local` is everybody on the ipc socket and has no key; use another name")


def _check_keys(groups: dict[str, Any], source: str, problems: list[str]) -> None:
    """Each is decoded here, where a person sees the error, and not first in a broker that has calls open."""
    curve: Curve | None = groups["curve"]
    keys = {f"[callers.{name}] key": caller.key for name, caller in groups["callers"].items()}
    if curve is not None:
        keys["[curve] secret_key_file" if curve.secret_key_file else "[curve] secret_key"] = curve.secret_key
    for where, key in keys.items():
        if key is not None and not _is_z85(key):
            problems.append(f"{source}: {where}: is not a key in Z85 (ZeroMQ RFC 32); `amid keygen` makes one")


def _is_z85(key: str) -> bool:
    try:
        z85.decode(key)
    except (ValueError, KeyError, struct.error):  # not ASCII; not of its characters; five of them that are over 32 bits
        return False
    return True


def _check_sockets(run_dir: Any, servers: dict[str, Server], source: str, problems: list[str]) -> None:
    if not isinstance(run_dir, str):
        return
    if not run_dir.startswith("/"):
        problems.append(f"{source} run_dir: must be an absolute path, not {run_dir!r}")
    longest = max((len(name) for name in servers), default=0) + len("/stream-")
    if len(os.fsencode(run_dir)) + longest > MAX_SOCKET_PATH:
        problems.append(f"{source} run_dir: too long; a socket's path may have {MAX_SOCKET_PATH} bytes")
