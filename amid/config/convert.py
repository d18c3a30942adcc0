"""Converts TOML to typed tables. Each key is converted separately, so that every invalid key is
reported by name.

msgspec converts; its errors only say that a value is invalid. `amid.rpc.type_words` says what is
valid.
"""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from amid.config.report import Report
from amid.config.tables import (
    DERIVED,
    Caller,
    Config,
    Curve,
    Directory,
    Gateway,
    Listener,
    Nats,
    Recorder,
    Rpc,
    Server,
    State,
    Supervision,
    Table,
)
from amid.rpc.type_words import describe_type, suggest_key

SERVER_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")

T = TypeVar("T", bound=Table)


def convert(raw: dict[str, Any], report: Report, of_run_dir: Report, of_state_dir: Report) -> Config:
    """Convert `raw` to tables. Tables with a problem, which is reported, are left out or keep their
    defaults.

    of_run_dir, of_state_dir: the reports for these two keys, which may come from an option or the
    environment.
    """
    tables = dict(raw)
    run_dir = _value(tables.pop("run_dir"), Directory, of_run_dir, "", "")
    state_dir = _value(tables.pop("state_dir"), Directory, of_state_dir, "", "")
    servers = _group(tables.pop("servers", {}), "servers", Server, report)
    callers = _group(tables.pop("callers", {}), "callers", Caller, report)
    rpc = to_table(tables.pop("rpc", {}), "rpc", Rpc, report)
    supervision = to_table(tables.pop("supervision", {}), "supervision", Supervision, report)
    curve = to_table(tables.pop("curve", {}), "curve", Curve, report)
    state = to_table(tables.pop("state", {}), "state", State, report)
    gateway = _optional(tables, "gateway", Gateway, report, "listen")
    recorder = _optional(tables, "recorder", Recorder, report)
    listener = _optional(tables, "listener", Listener, report, "listen", "tls_listen")
    nats = _optional(tables, "nats", Nats, report, "servers")
    if "servers" not in raw:
        report.refuse("", "", "no server: add a table [servers.NAME] with host, username and secret or secret_file")
    config = to_table(tables, "", Config, report) or Config()
    return msgspec.structs.replace(
        config,
        run_dir=run_dir or config.run_dir,
        state_dir=state_dir or config.state_dir,
        servers=servers,
        callers=callers,
        rpc=rpc or Rpc(),
        supervision=supervision or Supervision(),
        curve=curve or Curve(),
        gateway=gateway,
        state=state or State(),
        recorder=recorder,
        listener=listener,
        nats=nats,
    )


def _optional(tables: dict[str, Any], name: str, kind: type[T], report: Report, *lists: str) -> T | None:
    """Take the table `name` out of `tables`; None without one. lists: keys at which a single text
    stands for a list of one."""
    if name not in tables:
        return None
    raw = tables.pop(name)
    if isinstance(raw, dict):
        raw = {**raw, **{key: [raw[key]] for key in lists if isinstance(raw.get(key), str)}}
    return to_table(raw, name, kind, report)


def to_table(raw: Any, name: str, kind: type[T], report: Report) -> T | None:
    """Convert `raw` to a table; None when it has a problem, which is reported."""
    if not isinstance(raw, dict):
        report.refuse(name, "", "must be a table")
        return None
    fields = {field.name: field for field in msgspec.structs.fields(kind) if field.name not in DERIVED}
    known = len(report.problems)
    for key in raw:
        if key not in fields:
            report.refuse(name, key, f"unknown key{suggest_key(key, list(fields))}")
    for key, field in fields.items():
        if field.required and key not in raw:
            report.refuse(name, key, "is missing")
    values = {key: _value(raw[key], field.type, report, name, key) for key, field in fields.items() if key in raw}
    return kind(**values) if len(report.problems) == known else None


def _group(raw: Any, name: str, kind: type[T], report: Report) -> dict[str, T]:
    if not isinstance(raw, dict):
        report.refuse("", name, f"must be tables [{name}.NAME]")
        return {}
    checked = {key: to_table(value, f"{name}.{key}", kind, report) for key, value in raw.items()}
    for key in raw:
        if not SERVER_NAME.fullmatch(key):
            report.refuse(f"{name}.{key}", "", "a name is 1 to 32 letters, digits, '-' and '_'")
    return {key: table for key, table in checked.items() if table is not None}


def _value(raw: Any, kind: Any, report: Report, table: str, key: str) -> Any:
    try:
        if isinstance(raw, str):
            raw.encode()
        return msgspec.convert(raw, kind)
    except UnicodeEncodeError:  # from a command-line option
        report.refuse(table, key, "is not UTF-8")
    except msgspec.ValidationError:
        expected = inspect.type_info(kind)
        quoted = ", without quotes" if isinstance(raw, str) and _is_number(expected) else ""
        report.refuse(table, key, f"must be {describe_type(expected)}{quoted}")
    return None


def _is_number(kind: inspect.Type) -> bool:
    while isinstance(kind, inspect.Metadata | inspect.UnionType):
        kind = kind.type if isinstance(kind, inspect.Metadata) else kind.types[0]
    return isinstance(kind, inspect.IntType | inspect.FloatType | inspect.BoolType)
