"""The example of each client, which clients/README.md links, makes a call and shows events."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.daemon import Daemon, eventually
from tests.languages.harness import ROOT
from tests.languages.table import README

EXAMPLES = {
    "C": ("c/example.c", ["clients/c/build/example"]),
    "Go": ("go/cmd/example/main.go", ["clients/go/build/example"]),
    "Java": ("java/Example.java", ["java", "-cp", "clients/java/build/amid.jar", "clients/java/Example.java"]),
    "Node.js": ("node/example.js", ["node", "clients/node/example.js"]),
    "Perl": ("perl/example.pl", ["perl", "clients/perl/example.pl"]),
    "PHP": ("php/example.php", ["php", "clients/php/example.php"]),
    "Ruby": ("ruby/example.rb", ["ruby", "clients/ruby/example.rb"]),
    "Rust": ("rust/example.rs", ["clients/rust/target/release/examples/example"]),
}
"""By language: the file as the page links it, and the command that runs it."""
STATE = ("C", "Go", "Rust")
"""Languages whose example shows the live state and its first change."""


@pytest.mark.parametrize("language", EXAMPLES)
def test_an_example_shows_events(daemon: Daemon, tmp_path: Path, language: str, needs: Callable[[str], None]) -> None:
    needs(language)
    link, argv = EXAMPLES[language]
    assert f"]({link})" in README.read_text(), link
    output = tmp_path / "output"
    with output.open("wb") as file, subprocess.Popen([*argv, daemon.run_dir], cwd=ROOT, stdout=file) as example:

        def it_ended() -> bool:
            daemon.action("UserEvent", {"UserEvent": "Hello"})
            return example.poll() is not None

        try:
            eventually(it_ended, f"the example of {language} ended")
        finally:
            example.kill()
    assert example.returncode == 0
    shown = output.read_text()
    assert "UserEvent" in shown, shown
    if language in STATE:
        assert re.search(r"^(\w+ )?UserEvent\b", shown, flags=re.M), "an event has its name"
        assert "calls now" in shown and "\nreset" in shown, shown
