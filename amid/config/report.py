"""The findings of a configuration check: problems, which prevent the start, and warnings."""

from __future__ import annotations


class ConfigError(Exception):
    """The problems of a configuration, one a line, each with file, table and key."""


class Report:
    """Collects all findings, so that an operator sees them at once. source: the name of the file in
    messages."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.problems: list[str] = []
        self.warnings: list[str] = []

    def refuse(self, table: str, key: str, what: str) -> None:
        self.problems.append(f"{self._place(table, key)}: {what}")

    def warn(self, table: str, key: str, what: str) -> None:
        self.warnings.append(f"{self._place(table, key)}: {what}")

    def of_file(self, source: str) -> Report:
        """A report for another file that this file names. Its findings are added to this report."""
        other = Report(source)
        other.problems, other.warnings = self.problems, self.warnings
        return other

    def _place(self, table: str, key: str) -> str:
        """`amid.toml: run_dir`, `amid.toml: [rpc]` or `amid.toml: [rpc] listen`."""
        where = " ".join(part for part in (f"[{table}]" if table else "", key) if part)
        return f"{self.source}: {where}" if where else self.source
