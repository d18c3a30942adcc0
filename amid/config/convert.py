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
from amid.config.tables import DERIVED, GROUPS, TABLES, Config, Directory, Table
from amid.rpc.type_words import describe_type, suggest_key

SERVER_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")

LISTS = {"gateway": ["listen"], "listener": ["listen", "tls_listen"], "nats": ["servers"]}
"""Keys of tables at which a text stands for a list of one."""

PLAIN_HTTP = ": the gateway speaks plain HTTP; put a proxy with TLS in front of it (etc/doc/http.md, Behind a proxy)"
ADVICE = {("gateway", key): PLAIN_HTTP for key in ("tls", "tls_listen", "tls_cert", "tls_key")}
"""Advice about keys that a table does not have, although another one has them: (table, key)."""

T = TypeVar("T", bound=Table)


def convert(raw: dict[str, Any], report: Report, of_run_dir: Report, of_state_dir: Report) -> Config:
    """Convert `raw` to tables. Tables with a problem, which is reported, are left out or keep their
    defaults.

    of_run_dir, of_state_dir: the reports for these two keys, which may come from an option or the
    environment.
    """
    keys = dict(raw)
    values = {
        "run_dir": _value(keys.pop("run_dir"), Directory, of_run_dir, "", ""),
        "state_dir": _value(keys.pop("state_dir"), Directory, of_state_dir, "", ""),
    }
    for name, kind in TABLES.items():
        if name in raw:
            values[name] = (_group if name in GROUPS else to_table)(keys.pop(name), name, kind, report)
    if "servers" not in raw:
        report.refuse("", "", "no server: add a table [servers.NAME] with host, username and secret or secret_file")
    elif "listener" in raw and raw["servers"] == {}:
        report.refuse("listener", "", "there is no [servers.NAME] for it")
    config = to_table(keys, "", Config, report) or Config()
    return msgspec.structs.replace(config, **{name: value for name, value in values.items() if value is not None})


def to_table(raw: Any, name: str, kind: type[T], report: Report) -> T | None:
    """Convert `raw` to a table; None when it has a problem, which is reported."""
    if not isinstance(raw, dict):
        report.refuse(name, "", "must be a table")
        return None
    raw = {key: [value] if key in LISTS.get(name, ()) and isinstance(value, str) else value for key, value in raw.items()}
    fields = {field.name: field for field in msgspec.structs.fields(kind) if field.name not in DERIVED}
    known = len(report.problems)
    for key in raw:
        if key not in fields:
            report.refuse(name, key, f"unknown key{_advice(name, key) or suggest_key(key, list(fields))}")
    for key, field in fields.items():
        if field.required and key not in raw:
            report.refuse(name, key, "is missing")
    values = {key: _value(raw[key], field.type, report, name, key) for key, field in fields.items() if key in raw}
    return kind(**values) if len(report.problems) == known else None


def _advice(name: str, key: str) -> str:
    """Advice about a key that the table `name` does not have, if it is a key of another place."""
    if key in Config.__struct_fields__ and key not in TABLES and name.partition(".")[0] in TABLES:
        return ": it belongs at the top of the file, before the first [table]"
    return ADVICE.get((name, key), "")


def _group(raw: Any, name: str, kind: type[T], report: Report) -> dict[str, T]:
    if not isinstance(raw, dict):
        report.refuse("", name, f"must be tables [{name}.NAME]")
        return {}
    if loose := [key for key, value in raw.items() if not isinstance(value, dict)]:
        report.refuse(name, "", f"{', '.join(loose)} must be in a table [{name}.NAME]")
    checked = {key: to_table(value, f"{name}.{key}", kind, report) for key, value in raw.items() if key not in loose}
    for key in checked:
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
        words = describe_type(expected)
        quoted = ", without quotes" if isinstance(raw, str) and _is_number(expected) and '"' not in words else ""
        report.refuse(table, key, f"must be {words}{quoted}")
    return None


def _is_number(kind: inspect.Type) -> bool:
    while isinstance(kind, inspect.Metadata | inspect.UnionType):
        kind = kind.type if isinstance(kind, inspect.Metadata) else kind.types[0]
    return isinstance(kind, inspect.IntType | inspect.FloatType | inspect.BoolType)
