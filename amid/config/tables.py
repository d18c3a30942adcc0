"""All tables and keys of the configuration, with types, limits and defaults."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from msgspec import Meta

from amid.manager.user_entry import UserEntry

Seconds = Annotated[float, Meta(gt=0, le=3600, description="a number of seconds, over 0 and at most 3,600")]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Bytes = Annotated[int, Meta(ge=1024, le=1024**3)]
Name = Annotated[str, Meta(min_length=1, max_length=255, description="1 to 255 characters of text")]
File = Annotated[
    str, Meta(min_length=1, max_length=255, pattern=r"^[^\x00]*\Z", description="a path of 1 to 255 characters, without NUL")
]
Directory = Annotated[
    str, Meta(max_length=4096, pattern=r"^/[^\x00\r\n]*\Z", description="an absolute path, without line ends or NUL")
]
Line = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[^\r\n\x00]*\Z", description="one line of 1 to 255 characters")]
"""Text that is sent as the value of a header."""
Secret = Annotated[str, Meta(pattern=r"^[^\r\n\x00]+\Z", description="one line of text that is not empty")]
"""The secret in manager.conf; with auth = "plain" it is sent as the value of a header."""
_HOST = r"^([^\s\x00:\[\]]+|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*:[0-9a-fA-F:.%a-z]*)\Z"
Host = Annotated[
    str,
    Meta(min_length=1, max_length=255, pattern=_HOST, description="a host name or an address, without port or brackets"),
]
CurveKey = Annotated[str, Meta(min_length=40, max_length=40, description="a key of 40 characters; `amid keygen` makes one")]
"""A CURVE key in Z85 (ZeroMQ RFC 32)."""
_PORT = r"([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])\Z"
TcpEndpoint = Annotated[
    str,
    Meta(
        pattern=r"^tcp://(\*|[^:/\s\x00]+|\[[0-9a-fA-F:]+\]):" + _PORT,
        description='an endpoint such as "tcp://10.0.0.1:5560"; a port is 1 to 65535',
    ),
]
HttpAddress = Annotated[str, Meta(pattern=r"^([^:/\s\x00]+|\[[0-9a-fA-F:]+\]):" + _PORT)]
HttpAddresses = Annotated[
    tuple[HttpAddress, ...],
    Meta(
        min_length=1,
        description='an address and a port such as "127.0.0.1:8088", or a list of them; a port is 1 to 65535',
    ),
]
"""A single string is a list of one. (A union of both makes msgspec 0.22 free memory twice.)"""
AmiAddresses = Annotated[
    tuple[HttpAddress, ...],
    Meta(description='an address and a port such as "127.0.0.1:5038", or a list of them; a port is 1 to 65535'),
]
Origin = Annotated[str, Meta(pattern=r"^https?://[^/\s\x00]+\Z", description='an origin such as "https://crm.example.com"')]
NatsServer = Annotated[str, Meta(pattern=r"^(nats|tls)://([^:/@\s\x00]+|\[[0-9a-fA-F:]+\])(:" + _PORT[:-2] + r")?\Z")]
NatsServers = Annotated[
    tuple[NatsServer, ...],
    Meta(min_length=1, description='an address such as "tls://nats.example.com:4222", without a user, or a list of them'),
]
"""Text stands for a list of one."""
NatsToken = Annotated[
    str, Meta(min_length=1, max_length=32, pattern=r"^[a-z0-9_-]+\Z", description="1 to 32 lower-case letters, digits, - and _")
]
Instance = Annotated[
    str,
    Meta(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9._:/-]+\Z", description="1 to 200 letters, digits and . _ : / -"),
]
Rule = Annotated[
    str,
    Meta(
        max_length=255,
        pattern=r"^\s*[^:\s][^:]*(:\s*\S.*)?\Z",
        description="the name of an action, optionally followed by a colon and a pattern for its target",
    ),
]
"""A rule that `amid.rpc.policy` compares with an action."""
TokenText = Annotated[
    str,
    Meta(
        min_length=20,
        max_length=200,
        pattern=r"^[A-Za-z0-9._~+/=-]+\Z",
        description="20 to 200 letters, digits and - . _ ~ + / =",
    ),
]
History = Annotated[bool | Literal["masked"], Meta(description='true, false or "masked"')]
"""Whether a caller may see recorded calls, and whether with long numbers and their names masked."""
Size = Annotated[
    Annotated[int, Meta(ge=1024 * 1024)] | Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,5} (MiB|GiB|TiB)\Z")],
    Meta(description='a size such as "20 GiB" (MiB, GiB or TiB), or a number of bytes, at least 1,048,576'),
]
DERIVED = frozenset({"tokens", "users", "tls_fingerprint", "password"})
"""Fields that are not keys of the file: `resolve` sets them from the files that keys name."""


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the file. A reload compares tables to find what has changed."""


class Server(Table, frozen=True, kw_only=True):
    """`[servers.NAME]`: one Asterisk. `tls_fingerprint` covers the contents of the TLS files, so
    that a renewed file is a change."""

    host: Host
    username: Line
    port: Annotated[int, Meta(ge=1, le=65535)] | None = None
    secret: Secret | None = None
    secret_file: File | None = None
    auth: Literal["md5", "plain"] = "md5"
    tls: bool = False
    tls_ca: File | None = None
    tls_cert: File | None = None
    tls_key: File | None = None
    tls_verify: bool = True
    tls_fingerprint: str = ""
    events: Line = "on"
    lanes: Annotated[int, Meta(ge=1, le=64)] = 4
    queue: Count = 1000
    events_listen: list[TcpEndpoint] = []
    stream_listen: list[TcpEndpoint] = []
    allow: list[Rule] = []
    deny: list[Rule] = []
    silence: Seconds = 10.0
    pong: Seconds = 5.0
    login_timeout: Seconds = 10.0
    reconnect_min: Seconds = 0.2
    reconnect_max: Seconds = 30.0
    replay_bytes: Annotated[int, Meta(ge=0, le=1024**3)] = 16 * 1024 * 1024
    max_reply_bytes: Bytes = 16 * 1024 * 1024
    max_subscribers_per_caller: Count = 200

    @property
    def tcp_port(self) -> int:
        return self.port or (5039 if self.tls else 5038)


MIN_UNREAD_ANSWERS = 10_000
"""Their bytes are limited too (`max_unread_bytes`)."""


class Rpc(Table, frozen=True, kw_only=True):
    """`[rpc]`: TCP endpoints for requests, besides the socket in run_dir, and limits for callers."""

    listen: list[TcpEndpoint] = []
    max_request_bytes: Bytes = 1024 * 1024
    max_calls: Count = 10_000
    max_calls_per_caller: Count = 2500
    max_connections_per_user: Count = 1000
    max_unread_bytes: Bytes = 64 * 1024 * 1024
    audit: Literal["denied", "all"] = "denied"

    @property
    def max_unread_answers(self) -> int:
        """Of one connection. Those to `ping` and to refused calls are more than the open calls, and a
        reload may permit fewer of these than are open."""
        return max(self.max_calls, MIN_UNREAD_ANSWERS)


class Supervision(Table, frozen=True, kw_only=True):
    """`[supervision]`: timeouts for child processes, in seconds."""

    silence: Annotated[float, Meta(ge=1, le=3600)] = 2.0
    boot_grace: Seconds = 15.0
    drain: Seconds = 5.0


class Curve(Table, frozen=True, kw_only=True):
    """`[curve]`: the daemon's key for TCP, which TCP requires. `secret_key` is read from the file."""

    secret_key_file: File | None = None
    secret_key: CurveKey | None = None
    silence: Seconds = 30.0


class Caller(Table, frozen=True, kw_only=True):
    """`[callers.NAME]`: the rights of one caller.

    A TCP caller is identified by its public `key`, a local caller by its Unix `user` or `group`, a
    caller on NATS by the prefix of its subjects; `local` is every other local caller.
    """

    key: CurveKey | None = None
    user: Line | None = None
    group: Line | None = None
    nats: NatsToken | None = None
    allow: list[Rule] = []
    deny: list[Rule] = []
    admin: bool = False
    history: History = False


class Token(Table, frozen=True, kw_only=True):
    """`[NAME]` of the tokens file: the rights of clients with this `token` over HTTP.
    `events_allow` and `events_deny` list event names."""

    token: TokenText
    allow: list[Rule] = []
    deny: list[Rule] = []
    events_allow: list[Name] = []
    events_deny: list[Name] = []
    admin: bool = False
    history: History = False


class Gateway(Table, frozen=True, kw_only=True):
    """`[gateway]`: HTTP for browsers and curl. `tokens` are read from the file."""

    listen: HttpAddresses = ("127.0.0.1:8088",)
    hosts: list[Host] = []
    tokens_file: File | None = None
    tokens: dict[str, Token] = {}
    origins: list[Origin] = []
    max_body_bytes: Bytes = 1024 * 1024
    max_streams: Count = 200
    max_streams_per_token: Count = 100
    max_calls_per_token: Count = 100
    max_connections_per_token: Count = 300
    max_strangers: Count = 200
    session_idle_s: Annotated[int, Meta(ge=60, le=31_536_000)] = 43_200


class State(Table, frozen=True, kw_only=True):
    """`[state]`: the live state of each PBX, kept from the first request for it."""

    enabled: bool = True
    reconcile: Seconds = 60.0
    history_bytes: Bytes = 16 * 1024 * 1024


class Recorder(Table, frozen=True, kw_only=True):
    """`[recorder]`: events and calls on disk. directory: by default `recordings` in state_dir."""

    directory: Directory | None = None
    keep_days: Annotated[int, Meta(ge=1, le=3650)] = 30
    keep_bytes: Size = "20 GiB"
    leave_out: tuple[Name, ...] = ("VarSet", "CEL", "TestEvent", "DTMFBegin", "DTMFEnd")

    @property
    def bytes_to_keep(self) -> int:
        if isinstance(self.keep_bytes, int):
            return self.keep_bytes
        number, unit = self.keep_bytes.split(" ")
        return int(number) << {"MiB": 20, "GiB": 30, "TiB": 40}[unit]


class Listener(Table, frozen=True, kw_only=True):
    """`[listener]`: AMI for existing programs.

    users: read from `users_file`. tls_fingerprint: digest of the TLS files.
    """

    listen: AmiAddresses = ("127.0.0.1:5038",)
    tls_listen: AmiAddresses = ()
    tls_cert: File | None = None
    tls_key: File | None = None
    users_file: File | None = None
    users: dict[str, UserEntry] = {}
    tls_fingerprint: str = ""
    auth_timeout: Seconds = 30.0
    auth_limit: Count = 50
    max_clients: Count = 2000
    max_unread_bytes_per_client: Bytes = 4 * 1024 * 1024
    max_unread_bytes_total: Bytes = 256 * 1024 * 1024
    max_open_actions: Count = 100
    action_timeout: Seconds = 300.0


class Nats(Table, frozen=True, kw_only=True):
    """`[nats]`: the bus.

    password: read from `password_file`. tls_fingerprint: digest of the TLS files and credentials.
    """

    servers: NatsServers = ("nats://127.0.0.1:4222",)
    credentials_file: File | None = None
    user: Line | None = None
    password_file: File | None = None
    password: Secret | None = None
    tls_ca: File | None = None
    tls_cert: File | None = None
    tls_key: File | None = None
    tls_fingerprint: str = ""
    prefix: NatsToken = "amid"
    instance: Instance | None = None
    replicas: Annotated[int, Meta(ge=1, le=5)] = 1
    max_age: Annotated[float, Meta(ge=0, le=315_360_000)] = 604_800.0
    max_bytes: Annotated[int, Meta(ge=0, le=2**50)] = 1024**3
    create_streams: bool = True
    leave_out: list[Name] = []
    lease_ttl: Annotated[float, Meta(ge=1, le=3600)] = 10.0
    ack_timeout: Annotated[float, Meta(gt=0, le=60)] = 5.0

    @property
    def tls(self) -> bool:
        """Whether connections without TLS are refused."""
        return any(server.startswith("tls://") for server in self.servers) or self.tls_ca is not None or self.tls_cert is not None


class Config(Table, frozen=True, kw_only=True):
    """The configuration file."""

    run_dir: Directory = "/run/amid"
    state_dir: Directory = "/var/lib/amid"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    servers: dict[str, Server] = {}
    rpc: Rpc = Rpc()
    supervision: Supervision = Supervision()
    curve: Curve = Curve()
    callers: dict[str, Caller] = {}
    gateway: Gateway | None = None
    state: State = State()
    recorder: Recorder | None = None
    listener: Listener | None = None
    nats: Nats | None = None

    @property
    def recordings(self) -> str:
        """The directory of the recorder."""
        return (self.recorder.directory if self.recorder else None) or f"{self.state_dir}/recordings"


def _table_in(kind: Any) -> type[Table] | None:
    """The table in the type of a key: `Rpc`, `Gateway | None` or `dict[str, Server]`."""
    return next((one for one in (kind, *get_args(kind)) if isinstance(one, type) and issubclass(one, Table)), None)


_FIELDS = {field.name: field.type for field in msgspec.structs.fields(Config)}
TABLES: dict[str, type[Table]] = {name: table for name, kind in _FIELDS.items() if (table := _table_in(kind)) is not None}
"""Every table of the file, by its key."""
GROUPS = frozenset(name for name in TABLES if get_origin(_FIELDS[name]) is dict)
"""Those of which the file has several, `[servers.NAME]`."""
