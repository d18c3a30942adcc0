"""`amid` and `python -m amid`: the command line, and the entry of the daemon's child processes.

The children are told apart before anything else is imported, so that a reader carries no command line in its memory.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from amid.process.descriptors import open_missing


def main() -> None:
    open_missing()
    _use_utf8()
    match sys.argv[1:]:
        case ["reader", name, *by_hand]:
            from amid.reader import reader

            reader.main(*([_config(by_hand), name] if by_hand else []))
        case ["broker", *by_hand]:
            from amid.broker import broker

            broker.main(*([_config(by_hand)] if by_hand else []))
        case ["gateway", *by_hand]:
            from amid.gateway import gateway

            gateway.main(*([_config(by_hand)] if by_hand else []))
        case arguments:
            from amid.cli.main import run

            sys.exit(run(arguments))


def _use_utf8() -> None:
    """Begin again in Python's UTF-8 mode (PEP 540) where the locale has another encoding.

    Arguments, the environment, names of files and what is printed are UTF-8 then, as all else is: what goes to Asterisk must not
    depend on the locale of a cron job. In a UTF-8 locale, and in C, nothing happens.
    """
    if sys.getfilesystemencoding() != "utf-8" and not sys.flags.utf8_mode:
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def _config(arguments: list[str]) -> Any:
    """The configuration of a process that a person runs without a supervisor: `-c FILE`."""
    from pathlib import Path

    from amid.config import ConfigError, load

    if len(arguments) != 2 or arguments[0] != "-c":
        sys.exit("amid: a reader, broker or gateway run by hand takes -c FILE, and the reader its server's name before it")
    try:
        return load(Path(arguments[1]))
    except ConfigError as error:
        sys.exit(f"amid: {error}")


if __name__ == "__main__":
    main()
