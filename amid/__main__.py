"""`amid` and `python -m amid`: the command line, and the entry point of the daemon's child
processes.

A child process is recognised before anything else is imported, so that it never loads the command
line.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from typing import Any

GC_THRESHOLD = 20_000
"""New objects before a garbage collection. Little here is cyclic, and a full collection visits every
open call or the whole model of a PBX: at Python's 700, several run while a large list is read, and a
hundred while the modules are imported."""


def main() -> None:
    on_interrupt = signal.getsignal(signal.SIGINT)
    if on_interrupt is signal.default_int_handler:  # the traceback of an interrupted import helps no user
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    _set_up_process()
    match sys.argv[1:]:
        case ["reader", name, *debug_arguments]:
            from amid.reader import reader

            reader.main(*([_config(debug_arguments), name] if debug_arguments else []))
        case ["broker", *debug_arguments]:
            from amid.broker import broker

            broker.main(*([_config(debug_arguments)] if debug_arguments else []))
        case ["gateway", *debug_arguments]:
            from amid.gateway import gateway

            gateway.main(*([_config(debug_arguments)] if debug_arguments else []))
        case ["state", *debug_arguments]:
            from amid.state_service import state_service

            state_service.main(*([_config(debug_arguments)] if debug_arguments else []))
        case ["recorder", *debug_arguments]:
            from amid.recorder import recorder

            recorder.main(*([_config(debug_arguments)] if debug_arguments else []))
        case ["listener", *debug_arguments]:
            from amid.listener import listener

            listener.main(*([_config(debug_arguments)] if debug_arguments else []))
        case ["bus", *debug_arguments]:
            from amid.bus import bus

            bus.main(*([_config(debug_arguments)] if debug_arguments else []))
        case arguments:
            from amid.cli.main import run

            signal.signal(signal.SIGINT, on_interrupt)
            sys.exit(run(arguments))


def _set_up_process() -> None:
    from amid.process.descriptors import open_missing

    gc.set_threshold(GC_THRESHOLD)
    open_missing()
    _use_utf8()


def _use_utf8() -> None:
    """Execute Python again in UTF-8 mode (PEP 540) where the locale has another encoding.

    Arguments, environment, file names and output are then UTF-8 like everything else: what is sent
    to Asterisk must not depend on the locale of a cron job. Nothing happens in a UTF-8 locale or in
    the C locale.
    """
    if sys.getfilesystemencoding() != "utf-8" and not sys.flags.utf8_mode:
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def _config(arguments: list[str]) -> Any:
    """The configuration of a process that is started without a supervisor: `-c FILE`."""
    from pathlib import Path

    from amid.config.load import load
    from amid.config.report import ConfigError

    if len(arguments) != 2 or arguments[0] != "-c":
        sys.exit("amid: usage without a supervisor: reader SERVER -c FILE, or the name of another process and -c FILE")
    try:
        return load(Path(arguments[1]))
    except ConfigError as error:
        sys.exit(f"amid: {error}")


if __name__ == "__main__":
    main()
