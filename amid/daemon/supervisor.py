"""The supervisor: starts the broker and a reader for each server, watches their beats, and replaces what hangs or dies.

It holds no ZeroMQ and no TCP, stands in nobody's way, and knows nothing of AMI: a list of children, a pipe to and from each, and
`supervision.watch` to decide. Each pass: wait for a pipe, a signal or a deadline; hear everybody; reap; only then judge.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import selectors
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from amid.config import Config, ConfigError, secrets_of
from amid.daemon import notify
from amid.daemon.child import signal_pipe
from amid.daemon.log import LEVEL_SIGNALS, Log
from amid.daemon.process import Process
from amid.daemon.rundir import RunDir
from amid.daemon.settings import broker_settings, gateway_settings, reader_settings
from amid.supervision.backoff import Backoff
from amid.supervision.watch import Do, Limits, State, Watch

log = logging.getLogger("amid.supervisor")

LATE_S = 1.0
"""A pass that comes this many seconds after it was due means that the supervisor itself was away."""

RESPAWN_MIN_S = 0.1
RESPAWN_MAX_S = 30.0
STOP_S = 3.0
"""Seconds that a reader or the gateway has to end when asked to; the broker has its drain time and this."""

BROKER, GATEWAY = "broker", "gateway"


class Supervised:
    """One child: its process, when there is one, and the watch over it."""

    def __init__(self, name: str, argv: list[str], configuration: bytes, limits: Limits, now: float) -> None:
        self.name = name
        self.argv = argv
        self.configuration = configuration
        self.watch = Watch(limits, Backoff(RESPAWN_MIN_S, RESPAWN_MAX_S), now)
        self.process: Process | None = None
        self.last_exit = ""
        self.process_failed = False

    def account(self) -> dict[str, Any]:
        process = self.process
        return {
            "name": self.name,
            "pid": process.pid if process else 0,
            "started": self.watch.started,
            "restarts": max(0, self.watch.restarts),
            "last_exit": self.last_exit,
        }


class Supervisor:
    """`run` returns when everything has ended. `reload` gives the configuration anew; it may raise `ConfigError`."""

    def __init__(self, config: Config, run_dir: RunDir, reload: Callable[[], Config] | None = None) -> None:
        self._config = config
        self._run_dir = run_dir
        self._reload = reload
        self._selector = selectors.DefaultSelector()
        self._log = Log(config.log_level, secrets_of(config), process="supervisor")
        self._level_signal = signal.SIGUSR2  # the last one heard
        self._signals = signal_pipe(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, *LEVEL_SIGNALS)
        self._selector.register(self._signals, selectors.EVENT_READ, self._hear_signals)
        now = time.monotonic()
        self._started = now
        self._children: dict[str, Supervised] = {}
        self._stopping = False
        self._ready = False
        self._unsent_ready = ""
        self._next_watchdog = now
        self._due = now
        self._apply(config, now)

    def run(self) -> None:
        log.info("amid runs in %s with servers %s", self._run_dir.path, ", ".join(self._config.servers) or "none")
        while not self._over():
            self.step()
        log.info("ended")

    def stop(self) -> None:
        """End everything: the broker first, which answers what is in flight, then the readers, which log off."""
        if not self._stopping:
            log.info("ending")
            notify.send("STOPPING=1")
        self._stopping = True

    def step(self) -> None:
        """One pass of the loop."""
        now = time.monotonic()
        self._due = self._next_due(now)
        ready = self._selector.select(max(0.0, self._due - now))
        now = time.monotonic()
        if now > self._due + LATE_S:
            log.warning("the supervisor was away for %.1f s; nobody is judged for it", now - self._due)
            for child in self._children.values():
                child.watch.amnesty(now)
        for key, _ in ready:
            key.data()
        self._reap(now)
        if self._stopping:
            self._send_away(now)
        for child in list(self._children.values()):
            self._do(child, child.watch.tick(now), now)
        if self._run_dir.behind:
            self._write_status()
        self._say_ready(now)

    def _next_due(self, now: float) -> float:
        deadlines = [child.watch.deadline for child in self._children.values() if child.watch.deadline is not None]
        return min([*deadlines, self._next_watchdog, now + 5.0])

    def _over(self) -> bool:
        return self._stopping and all(child.watch.state is State.DOWN for child in self._children.values())

    # ── children ──

    def _apply(self, config: Config, now: float) -> None:
        """Make the children those of `config`; whatever does not differ is left alone."""
        self._config = config
        self._log.hide(secrets_of(config))
        if self._log.configure(config.log_level):
            self._level_signal = signal.SIGUSR2
        wanted = self._wanted(config)
        for unwanted in [child for name, child in self._children.items() if name not in wanted]:
            self._do(unwanted, unwanted.watch.leave(now), now)
            self._forget_if_down(unwanted)
        for name, (argv, configuration, limits) in wanted.items():
            child = self._children.get(name)
            if child is None or child.watch.state in (State.LEAVING, State.DOWN):
                self._children[name] = self._successor(child, Supervised(name, argv, configuration, limits, now))
                continue
            child.watch.judge_by(limits, now)
            if child.configuration != configuration:
                self._reconfigure(child, configuration, now)

    def _successor(self, old: Supervised | None, new: Supervised) -> Supervised:
        """A server taken out and put back at once: the old reader must be gone before the new one binds its sockets."""
        if old is not None and old.process is not None:
            old.process.kill()
            old.process.wait()
            self._gone(old)
        return new

    def _reconfigure(self, child: Supervised, configuration: bytes, now: float) -> None:
        old, child.configuration = child.configuration, configuration
        if child.process is not None and _fixed(child.name, old) == _fixed(child.name, configuration):
            child.process.send(configuration)
        else:
            log.info("%s: its configuration changed; it is started anew", child.name)
            self._do(child, child.watch.restart(now), now)

    def _wanted(self, config: Config) -> dict[str, tuple[list[str], bytes, Limits]]:
        """name -> (argv, configuration, limits) of every child that `config` asks for."""
        supervision = config.supervision
        reader_limits = Limits(supervision.silence, supervision.boot_grace, STOP_S)
        broker_limits = Limits(supervision.silence, supervision.boot_grace, supervision.drain + STOP_S)
        wanted = {BROKER: ([BROKER], _line(broker_settings(config)), broker_limits)}
        for name in config.servers:
            settings = reader_settings(config, name, self._run_dir.epoch_origin)
            wanted[f"reader {name}"] = (["reader", name], _line(settings), reader_limits)
        if config.gateway is not None:
            wanted[GATEWAY] = ([GATEWAY], _line(gateway_settings(config, config.gateway)), reader_limits)
        return wanted

    def _do(self, child: Supervised, do: Do, now: float) -> None:
        match do:
            case Do.SPAWN:
                self._spawn(child, now)
            case Do.KILL if child.process is not None:
                asked = child.watch.state is State.LEAVING
                why = "it did not end when asked to" if asked else "its loop has been silent for too long"
                log.error("%s: %s; SIGKILL", child.name, why, extra={"child": child.name})
                child.process.kill()
            case Do.TERM if child.process is not None:
                child.process.signal(signal.SIGTERM)
            case _:
                return
        self._write_status()

    def _spawn(self, child: Supervised, now: float) -> None:
        try:
            child.process = Process(child.argv, child.configuration)
        except OSError as error:
            child.last_exit = f"could not be started: {error}"
            log.error("%s %s", child.name, child.last_exit, extra={"child": child.name})
            child.watch.exit(now)
            return
        self._selector.register(child.process.words, selectors.EVENT_READ, lambda: self._hear(child))
        if self._level_signal == signal.SIGUSR1:
            child.process.signal(self._level_signal)
        log.debug("%s: started as %d", child.name, child.process.pid)

    def _hear(self, child: Supervised) -> None:
        """Every line on the child's pipe is a beat; a line with words is a wish besides."""
        process = child.process
        if process is None:
            return
        lines = process.read_lines()
        if lines is None:
            self._selector.unregister(process.words)
            return
        now = time.monotonic()
        was_up = child.watch.state is State.UP
        for line in lines:
            self._do(child, child.watch.beat(now), now)
            if line:
                self._obey(line, now)
        if not was_up and child.watch.state is State.UP:
            self._write_status()

    def _obey(self, line: str, now: float) -> None:
        verb, _, name = line.partition(" ")
        child = self._children.get(f"reader {name}")
        if verb == "restart" and child is not None:
            log.warning("reader %s is replaced because a caller asked for it", name)
            self._do(child, child.watch.restart(now), now)

    def _reap(self, now: float) -> None:
        for child in list(self._children.values()):
            if child.process is None or not child.process.poll():
                continue
            self._gone(child)
            self._do(child, child.watch.exit(now), now)
            expected = child.watch.state is State.DOWN or not child.process_failed
            if not expected and child.watch.deadline is not None:
                said = "%s ended (%s); the next one starts in %.1f s"
                log.error(said, child.name, child.last_exit, child.watch.deadline - now, extra={"child": child.name})
            if not self._stopping:
                self._forget_if_down(child)
            self._write_status()

    def _forget_if_down(self, child: Supervised) -> None:
        """One that was taken out of the configuration has ended, or had no process to end."""
        if child.watch.state is State.DOWN:
            del self._children[child.name]
            if child.argv[0] == "reader":
                self._run_dir.clean_after(child.argv[-1])
            self._write_status()

    def _gone(self, child: Supervised) -> None:
        assert child.process is not None
        if child.process.words in self._selector.get_map():
            self._selector.unregister(child.process.words)
        child.last_exit = child.process.close()
        child.process_failed = child.last_exit != "status 0"
        child.process = None

    def _send_away(self, now: float) -> None:
        """The broker first; the readers when it has answered everybody."""
        broker_child = self._children[BROKER]
        leaving = [broker_child]
        if broker_child.watch.state is State.DOWN:
            leaving = [child for child in self._children.values() if child is not broker_child]
        for child in leaving:
            if child.watch.state is not State.LEAVING:
                self._do(child, child.watch.leave(now), now)

    # ── signals, systemd, status ──

    def _hear_signals(self) -> None:
        numbers = set(os.read(self._signals, 512))
        if signal.SIGTERM in numbers or signal.SIGINT in numbers:
            self.stop()
        for number in LEVEL_SIGNALS:
            if number in numbers:
                self._pass_on(number)
        if signal.SIGHUP in numbers and not self._stopping:
            self._take_new_config(time.monotonic())

    def _pass_on(self, number: signal.Signals) -> None:
        """A level for the log that every child takes too, those that are yet to start among them."""
        self._level_signal = number
        self._log.hear(number)
        for child in self._children.values():
            if child.process is not None:
                child.process.signal(number)

    def _take_new_config(self, now: float) -> None:
        if self._reload is None:
            log.warning("SIGHUP: this amid was started without a file; there is nothing to read again")
            return
        notify.send("RELOADING=1", f"MONOTONIC_USEC={int(now * 1e6)}")
        try:
            config = self._reload()
        except ConfigError as error:
            log.error("SIGHUP: nothing was changed, because the new configuration is not right: %s", error)
        else:
            if config.run_dir != self._config.run_dir:
                log.error("SIGHUP: nothing was changed: run_dir cannot change while amid runs")
            else:
                log.info("SIGHUP: configuration read")
                self._apply(config, now)
        self._unsent_ready = "READY=1"

    def _say_ready(self, now: float) -> None:
        needed = [child for child in self._children.values() if child.name != GATEWAY]  # whose port may be another program's
        if not self._ready and all(child.watch.state is State.UP for child in needed):
            self._ready = True
            self._unsent_ready = f"READY=1\nSTATUS=servers: {', '.join(self._config.servers) or 'none'}"
        if self._unsent_ready and notify.send(self._unsent_ready):
            self._unsent_ready = ""
        if now >= self._next_watchdog:
            self._next_watchdog = now + notify.watchdog_interval()
            notify.send("WATCHDOG=1")

    def _write_status(self) -> None:
        """The account of the processes; `started` is on the monotonic clock, which no clock step moves."""
        own = {"name": "supervisor", "pid": os.getpid(), "started": self._started, "restarts": 0, "last_exit": ""}
        children = [child.account() for child in self._children.values()]
        self._run_dir.write_status(json.dumps({"started": self._started, "processes": [own, *children]}))


def _fixed(name: str, configuration: bytes) -> Any:
    """What a child cannot change while it runs: for the broker where it listens, and under which key."""
    settings = json.loads(configuration)
    if name == BROKER:
        rpc = settings["rpc"]
        return rpc["listen"], rpc["listen"] and rpc["max_request_bytes"], settings["curve"]
    return {key: value for key, value in settings.items() if key not in ("log_level", "trace")}


def _line(settings: msgspec.Struct) -> bytes:
    return msgspec.json.encode(settings) + b"\n"


def serve(config: Config, reload: Callable[[], Config] | None = None, warnings: Iterable[str] = ()) -> None:
    """Run the daemon until it is told to end. `warnings` go to its log.

    Raises `RunDirError` when the run_dir cannot be used.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # each connection of a program is one; libzmq aborts without any left
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a dump would hold the secrets; the children inherit it
    with RunDir(Path(config.run_dir)) as run_dir:
        supervisor = Supervisor(config, run_dir, reload)
        for warning in warnings:
            log.warning(warning)
        supervisor.run()
