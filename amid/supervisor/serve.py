"""From a configuration to a running supervisor: process limits, run_dir, epochs, log."""

from __future__ import annotations

import logging
import resource
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from amid.config.masking import secrets_of
from amid.config.tables import Config
from amid.process import loop
from amid.process.log import Log
from amid.process.run_dir import RunDir
from amid.supervisor.epochs import Epochs
from amid.supervisor.supervisor import Supervisor

log = logging.getLogger("amid.supervisor")


def serve(config: Config, reload: Callable[[], Config] | None = None, warnings: Iterable[str] = ()) -> None:
    """Run the daemon until it is asked to stop. warnings: for its log.

    Raises `RunDirError` if run_dir cannot be used.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # one for each connection; libzmq aborts if none is left
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would contain secrets; children inherit the limit
    with RunDir(Path(config.run_dir)) as run_dir:
        process_log = Log(config.log_level, secrets_of(config), process="supervisor")
        for warning in warnings:
            log.warning(warning)
        epochs = Epochs(Path(config.state_dir), run_dir, time.monotonic())
        try:
            loop.run(_supervise(config, run_dir, epochs, process_log, reload))
        finally:
            epochs.close(time.monotonic())


async def _supervise(*arguments: Any) -> None:
    await Supervisor(*arguments).run()
