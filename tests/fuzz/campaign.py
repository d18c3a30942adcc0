"""Runs a fuzz target under atheris (libFuzzer), which keeps every input that reaches new code.

    pip install atheris
    python -m tests.fuzz.parser --seconds 1200         likewise requests and configuration
    python -m tests.fuzz.parser --input crash-…        run one input again, without atheris

A target is a module with `one(data)`, which raises on a finding, `seeds()`, the initial inputs, and
`TOKENS`, words that libFuzzer inserts into inputs. The corpus grows in `--corpus`, by default a
temporary directory, and failing inputs are left there. Findings are in test_findings.py, which does
not need atheris; neither does this file until it fuzzes.
"""

from __future__ import annotations

import argparse
import atexit
import hashlib
import importlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

INSTRUMENTED = ["amid", "tomllib"]
MAX_INPUT = 4096
"""Bytes: what is larger differs in amount and not in kind."""


def main(target: str) -> None:
    """What `python -m tests.fuzz.<target>` does."""
    options = argparse.ArgumentParser(prog=f"python -m tests.fuzz.{target}")
    options.add_argument("--seconds", type=int, default=60)
    options.add_argument("--corpus", type=Path)
    options.add_argument("--input", type=Path, help="run this one input")
    chosen = options.parse_args()
    if chosen.input is not None:
        importlib.import_module(f"tests.fuzz.{target}").one(chosen.input.read_bytes())
        return
    corpus = chosen.corpus or Path(tempfile.mkdtemp(prefix=f"amid-fuzz-{target}-"))
    # Imported modules cannot be instrumented, and the target has imported amid: hence a new process.
    os.execv(sys.executable, [sys.executable, "-m", "tests.fuzz.campaign", target, str(chosen.seconds), str(corpus)])


def fuzz(name: str, seconds: int, corpus: Path) -> None:
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=INSTRUMENTED):
        target = importlib.import_module(f"tests.fuzz.{name}")
    plant(corpus, target.seeds())
    words = corpus.with_name(corpus.name + ".dict")
    words.write_text("".join(f'"{_escaped(token)}"\n' for token in target.TOKENS))
    limits = [f"-max_total_time={seconds}", f"-max_len={MAX_INPUT}", "-timeout=30", "-rss_limit_mb=1024"]
    places = [f"-dict={words}", f"-artifact_prefix={corpus}.", str(corpus)]
    atheris.Setup([sys.argv[0], *limits, "-print_final_stats=1", *places], target.one)
    atheris.Fuzz()


def plant(corpus: Path, seeds: Iterable[bytes]) -> None:
    """Write `seeds` into `corpus`, each under the name that libFuzzer would give it."""
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        (corpus / hashlib.sha1(seed, usedforsecurity=False).hexdigest()).write_bytes(seed)


def scratch() -> Path:
    """A directory for this process."""
    place = Path(tempfile.mkdtemp(prefix="amid-fuzz-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    return place


def _escaped(token: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in token)


if __name__ == "__main__":
    fuzz(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
