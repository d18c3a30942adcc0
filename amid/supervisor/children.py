"""The children that a configuration asks for, and the supervisor's state of each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from amid import wire
from amid.config.tables import Config
from amid.process.run_dir import Identity, identify
from amid.process.settings import (
    broker_settings,
    bus_settings,
    gateway_settings,
    listener_settings,
    reader_settings,
    recorder_settings,
    state_settings,
)
from amid.supervision.backoff import Backoff
from amid.supervision.watch import Limits, Watch
from amid.supervisor.child_process import Process

RESPAWN_MIN_S = 0.1
RESPAWN_MAX_S = 30.0
STOP_S = 3.0
"""Time for a process other than the broker to end after SIGTERM. The
broker has its drain time in addition."""

BROKER, GATEWAY, STATE, RECORDER, LISTENER, BUS = "broker", "gateway", "state", "recorder", "listener", "bus"
CLIENTS = (GATEWAY, STATE, RECORDER, LISTENER, BUS)
"""The children that are clients like any other: amid is ready without them."""


class Wanted(NamedTuple):
    """How a child should be. sockets: the files that it always binds in run_dir."""

    configuration: bytes
    limits: Limits
    sockets: Sequence[str] = ()


class Supervised:
    """One child: its process, if it has one, and its watch. name: its arguments on the command line."""

    def __init__(self, name: str, wanted: Wanted, now: float) -> None:
        self.name = name
        self.wanted = wanted
        self.watch = Watch(wanted.limits, Backoff(RESPAWN_MIN_S, RESPAWN_MAX_S), now)
        self.process: Process | None = None
        self.last_exit = ""
        self.problem = ""
        """What the process has reported, "" if nothing is wrong."""
        self.was_terminated, self.kill_reason = False, ""
        """Whether the process was sent SIGTERM, and why it was sent SIGKILL."""
        self._sockets: dict[Path, Identity | None] = {}

    def record_sockets(self, run_dir: Path) -> None:
        """Note the child's socket files. Call it when the child is up: they are bound then."""
        self._sockets = {path: identify(path) for path in (run_dir / name for name in self.wanted.sockets)}

    def lost_socket(self) -> Path | None:
        """A socket of the child whose file was removed or replaced,
        so that programs cannot reach it."""
        return next((path for path, bound in self._sockets.items() if bound is None or identify(path) != bound), None)

    def record_exit(self, status: str) -> None:
        """The process has ended. status: how, as `Process.close` returns it."""
        self.last_exit = f"{status}: {self.kill_reason}" if self.kill_reason else status
        self.problem, self.process = "", None
        self.was_terminated, self.kill_reason = False, ""

    def account(self) -> dict[str, Any]:
        """The child's entry in the status file."""
        process = self.process
        return {
            "name": self.name,
            "pid": process.pid if process else 0,
            "started": self.watch.started,
            "restarts": max(0, self.watch.restarts),
            "last_exit": self.last_exit,
            "problem": self.problem,
        }


def wanted_children(config: Config, epoch_origin: int) -> dict[str, Wanted]:
    """Every child that `config` asks for, by name."""
    supervision = config.supervision
    limits = Limits(supervision.silence, supervision.boot_grace, STOP_S)
    broker_limits = Limits(supervision.silence, supervision.boot_grace, supervision.drain + STOP_S)
    wanted = {BROKER: Wanted(_line(broker_settings(config)), broker_limits, [wire.RPC_SOCKET, wire.READERS_SOCKET])}
    for name in config.servers:
        settings = _line(reader_settings(config, name, epoch_origin))
        sockets = [wire.events_socket(name), wire.stream_socket(name)]
        wanted[f"reader {name}"] = Wanted(settings, limits, sockets)
    if config.gateway is not None:
        wanted[GATEWAY] = Wanted(_line(gateway_settings(config, config.gateway)), limits)
    if config.state.enabled:
        sockets = [wire.state_socket(name) for name in config.servers]
        wanted[STATE] = Wanted(_line(state_settings(config)), limits, sockets)
    if config.recorder is not None:
        wanted[RECORDER] = Wanted(_line(recorder_settings(config)), limits)
    if config.listener is not None:
        wanted[LISTENER] = Wanted(_line(listener_settings(config, config.listener)), limits)
    if config.nats is not None:
        wanted[BUS] = Wanted(_line(bus_settings(config, config.nats)), limits)
    return wanted


def fixed_settings(name: str, configuration: bytes) -> Any:
    """The settings that need a restart of the child.

    For the broker: where it listens, and its key. For the listener: none, so that its clients stay.
    """
    settings = json.loads(configuration)
    if name == BROKER:
        rpc = settings["rpc"]
        return rpc["listen"], rpc["listen"] and rpc["max_request_bytes"], settings["curve"]
    if name == LISTENER:  # its clients stay, whatever changes
        return settings["run_dir"]
    return {key: value for key, value in settings.items() if key not in ("log_level", "trace", "caller", "rules")}


def _line(settings: msgspec.Struct) -> bytes:
    return msgspec.json.encode(settings) + b"\n"
