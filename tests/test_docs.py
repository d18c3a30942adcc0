"""The public interface is documented: keys, methods, errors and commands that exist are in the
pages, and the reverse."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from amid import wire
from amid.ami import targets
from amid.cli.main import COMMANDS, amid
from amid.config.load import check
from amid.config.tables import DERIVED, TABLES, Config, Table, Token
from amid.errors import CODES
from amid.gateway.calls import STATUSES
from amid.state.model import MEMBERS
from tests.faults import faults

ROOT = Path(__file__).parent.parent
CONFIG = (ROOT / "etc/amid.toml").read_text()
CONTRACT = (ROOT / "clients/README.md").read_text()
README = (ROOT / "README.md").read_text()
TOKENS = (ROOT / "etc/tokens.toml").read_text()
SECURITY = (ROOT / "etc/doc/security.md").read_text()

EXAMPLES = {"servers": "servers.pbx1", "callers": "callers.local"}
SECTIONS: dict[str, type[Table]] = {"": Config, **{EXAMPLES.get(name, name): kind for name, kind in TABLES.items()}}
"""The tables of the example by their titles."""


def uncommented() -> str:
    """etc/amid.toml with every key that shows its default switched on."""
    return re.sub(r"^# (\[?[a-z_.]+\]?(?: =.*)?)$", r"\1", CONFIG, flags=re.M)


def section(name: str) -> str:
    """The lines of the table `name`, its own comments included."""
    parts = re.split(r"^\[([a-z0-9_.]+)\]$", CONFIG, flags=re.M)
    sections = {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}
    return sections.get(name, CONFIG)  # a table that is commented out as a whole


@pytest.mark.parametrize("table", SECTIONS)
def test_every_key_is_in_the_example_with_its_default(table: str) -> None:
    text = section(table)
    for key in SECTIONS[table].__struct_fields__:
        if (table == "" and key in TABLES) or key in DERIVED:
            continue
        found = re.search(rf"^(# )?{key} += +(\S.*?)( +#.*)?$", CONFIG if key == "key" else text, flags=re.M)
        assert found, f"[{table}] {key} is not in etc/amid.toml"
        default = next(field.default for field in msgspec.structs.fields(SECTIONS[table]) if field.name == key)
        if found[1] and isinstance(default, int | float) and key != "port":
            assert tomllib.loads(f"value = {found[2]}")["value"] == default, f"[{table}] {key}: the example shows another default"


def test_the_example_configuration_is_valid(tmp_path: Path) -> None:
    secret = tmp_path / "pbx1.secret"
    secret.touch(mode=0o600)
    secret.write_text("s3cret\n")
    config = check(tomllib.loads(CONFIG), "etc/amid.toml", tmp_path)
    minimal = check(tomllib.loads((ROOT / "etc/amid-minimal.toml").read_text()), "etc/amid-minimal.toml", tmp_path)
    assert config == minimal, "what is not commented out in the example is what a minimal file has"


def test_the_example_tokens_file_is_valid(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.toml"
    tokens.touch(mode=0o600)
    tokens.write_text((ROOT / "etc/tokens.toml").read_text().replace("CHANGE-ME", "changed"))
    raw = {"servers": {}, "gateway": {"tokens_file": "tokens.toml"}}
    gateway = check(raw, "test", tmp_path).gateway
    assert gateway is not None and gateway.tokens["operator"].admin
    assert all(key in tokens.read_text() for key in Token.__struct_fields__)


def test_the_http_status_of_each_kind_of_error_is_documented() -> None:
    rows = re.findall(r"^\| (\d{3}) \| (`.*`) \|$", (ROOT / "etc/doc/http.md").read_text(), flags=re.M)
    assert {kind: int(status) for status, kinds in rows for kind in re.findall(r"`(\w+)`", kinds)} == STATUSES


def test_every_method_and_error_is_in_the_contract() -> None:
    for method in wire.METHODS:
        assert f"| `{method}` |" in CONTRACT, method
    for kind, code in CODES.items():
        assert f"| {code} | `{kind}` |" in CONTRACT, kind


def test_every_kind_of_state_is_described() -> None:
    page = (ROOT / "etc/doc/state.md").read_text()
    rows = {row[0]: row[1] for row in re.findall(r"^\| `(\w+)` \| [\w/@ ]+ \| (.*) \|$", page, flags=re.M)}
    for kind, plural in wire.STATE_KINDS.items():
        assert tuple(re.findall(r"`(\w+)`", rows[kind])) == MEMBERS[kind] and f"`{plural}`" in CONTRACT, kind


def test_every_command_has_help() -> None:
    for name in COMMANDS:
        shown = CliRunner().invoke(amid, [name, "--help"])
        assert shown.exit_code == 0 and "Usage:" in shown.output, name


def test_the_two_commands_of_the_readme() -> None:
    commands = re.findall(r"^python3 -m venv .*$", README, flags=re.M)
    assert len(commands) >= 2
    assert commands[0].endswith(".venv/bin/amid demo") and commands[1].endswith(".venv/bin/python -m pytest -n 3")


def test_the_table_of_faults_matches_the_tests() -> None:
    page = (ROOT / "tests/faults/README.md").read_text()
    assert faults.table() in page, "python -m tests.faults.faults prints the table of today"
    assert "(tests/faults/README.md)" in README


def test_files_named_in_contributing_exist() -> None:
    page = (ROOT / ".github/CONTRIBUTING.md").read_text()
    files = re.findall(r"(?<![\w/.-])\w[\w/-]*\.(?:py|sh|toml|json)\b(?!\()", page)
    assert len(files) > 20
    assert not [file for file in files if not any((ROOT / base / file).exists() for base in ("", "amid"))]


def test_every_action_with_targets_is_in_the_page() -> None:
    table = SECURITY.partition("| actions | targets | guarded |")[2].partition("\n\n")[0]
    named = {name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1] if row else "")}
    assert {name.lower() for name in named} == targets.TABLES.keys()


def test_the_rules_in_the_examples_allow_no_guarded_target() -> None:
    examples = re.findall(r"^(?:# )?allow = (\[[^\]]+\])", CONFIG + TOKENS, flags=re.M)
    rules = [rule for example in examples for rule in tomllib.loads(f"value = {example}")["value"]]
    assert len(rules) > 5
    wildcards = [rule for rule in rules if rule.partition(":")[2].strip() == "*"]
    assert not wildcards, "a pattern of everything is no safe example"


def test_every_threat_has_tests_that_exist() -> None:
    table = SECURITY.partition("| Actor | Attempt |")[2].partition("\n## ")[0]
    rows = table.splitlines()[2:]
    for row in [row for row in rows if row.startswith("|")]:
        named = re.findall(r"`([\w/]+\.py)::(\w+)`", row)
        assert named, row
        for file, test in named:
            assert re.search(rf"^def {test}\(", (ROOT / "tests" / file).read_text(), flags=re.M), f"{file}::{test}"


def test_the_systemd_unit_keeps_unix_users_visible() -> None:
    """In a user namespace of its own (PrivateUsers=yes) every peer of a Unix socket has the uid 65534."""
    unit = (ROOT / "etc/amid.service").read_text().splitlines()
    assert "PrivateUsers=no" in unit and "PrivateUsers=yes" not in unit


def test_the_limits_in_the_page_are_those_of_the_configuration() -> None:
    page = (ROOT / "etc/doc/configuration.md").read_text().partition("\n## Limits\n")[2]
    rows = [[cell.strip() for cell in row.split("|")[2:4]] for row in page.splitlines() if row.startswith("| ")][1:]
    assert len(rows) > 5
    for keys, values in rows:
        for key, value in zip(re.findall(r"`(\w+)`", keys), values.split(" and "), strict=True):
            number = int(re.sub(r"\D", "", value)) * (1024**2 if value.endswith("MiB") else 1)
            fields = [one for table in SECTIONS.values() for one in msgspec.structs.fields(table)]
            assert number in [one.default for one in fields if one.name == key], key


PAGES = [*ROOT.glob("*.md"), *ROOT.glob("etc/doc/*.md"), *ROOT.glob("clients/*.md"), *ROOT.glob(".github/**/*.md")]
MAX_COLUMNS = 100


def anchors(page: Path) -> set[str]:
    """What GitHub makes of the headings: small letters, blanks as hyphens, no other signs."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    prose = re.sub(r"`[^`\n]*`", "", page.read_text())
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        path, _, anchor = target.partition("#")
        if not path.startswith(("http://", "https://")):
            file = page.parent / path if path else page
            assert file.exists(), target
            assert not anchor or anchor in anchors(file), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_prose_wraps(page: Path) -> None:
    """Tables and code may be wider."""
    prose = re.sub(r"^ *```.*?^ *```$", "", page.read_text(), flags=re.M | re.S)
    assert not [line for line in prose.splitlines() if len(line) > MAX_COLUMNS and not line.startswith("|")]
