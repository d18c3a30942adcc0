"""The supervisor: starts the children, watches their beats, and replaces those that hang or die.

It uses neither ZeroMQ nor TCP and knows nothing of AMI: it has a pipe to and from each child, and
`supervision.watch` to decide. It reads a child's pipe once more before it acts on a missed beat.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
from collections.abc import Callable
from functools import partial

from amid.config.masking import secrets_of
from amid.config.report import ConfigError
from amid.config.tables import Config
from amid.process.log import LEVEL_SIGNALS, Log
from amid.process.loop import Alarm, Soon, clock
from amid.process.run_dir import RunDir, RunDirError, RunDirTaken
from amid.supervision.watch import Command, State
from amid.supervisor.child_process import Process
from amid.supervisor.children import BROKER, CLIENTS, Supervised, fixed_settings, wanted_children
from amid.supervisor.epochs import Epochs
from amid.supervisor.notify import Systemd

log = logging.getLogger("amid.supervisor")

LATE_S = 1.0
"""A pass that is later than this means that the supervisor itself was suspended."""

AS_ASKED = ("status 0", "signal SIGTERM")
"""How a child ends that is asked to. It has no handler for SIGTERM while it starts."""

RUN_DIR_CHECK_S = 1.0
"""Seconds between two checks that run_dir and its sockets are still amid's."""


class Supervisor:
    """`run` returns when everything has ended. `reload` may raise `ConfigError`."""

    def __init__(
        self, config: Config, run_dir: RunDir, epochs: Epochs, process_log: Log, reload: Callable[[], Config] | None
    ) -> None:
        self._config = config
        self._run_dir = run_dir
        self._epochs = epochs
        self._taken: RunDirTaken | None = None
        self._reload = reload
        self._log = process_log
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        self._pass_soon = Soon(self._loop, self._pass)
        self._alarm = Alarm(self._loop, self._pass)
        self._started = now = clock.monotonic()
        self._children: dict[str, Supervised] = {}
        self._stopping = False
        self._ready = False
        self._status = ""  # as written
        self._systemd = Systemd(now)
        self._next_check = now + RUN_DIR_CHECK_S
        self._due = now
        self._listen_to_signals()
        self._apply(config, now)

    async def run(self) -> None:
        """Raises `RunDirTaken` at the end if another amid has taken run_dir."""
        log.info("amid runs in %s with servers %s", self._run_dir.path, ", ".join(self._config.servers) or "none")
        self._pass_soon()
        await self._over.wait()
        self._alarm.cancel()
        log.info("ended")
        if self._taken is not None:
            raise self._taken

    def stop(self) -> None:
        """End the broker first, which answers open calls, then the readers, which log off."""
        if not self._stopping:
            log.info("ending")
            self._systemd.stopping()
        self._stopping = True
        self._pass_soon()

    def _pass(self) -> None:
        """Do what is due: at each deadline, and after each line of a child and each signal."""
        now = clock.monotonic()
        if now > self._due + LATE_S:
            log.warning("supervisor was suspended for %.1f s; child deadlines extended", now - self._due)
            for child in self._children.values():
                child.watch.extend_deadlines(now)
        self._reap(now)
        if self._stopping:
            self._begin_shutdown(now)
        elif now >= self._next_check:
            self._next_check = now + RUN_DIR_CHECK_S
            self._check_run_dir(now)
        for child in list(self._children.values()):
            self._check_child(child, now)
        self._write_status()
        if not self._ready and self._is_ready():
            self._ready = True
            self._notify_ready()
        self._systemd.step(now)
        self._due = self._next_due(now)
        self._alarm.set(self._due)
        if self._stopping and all(child.watch.state is State.DOWN for child in self._children.values()):
            self._over.set()

    def _check_child(self, child: Supervised, now: float) -> None:
        if now >= child.watch.deadline:
            self._read_lines(child)  # a beat may be in the pipe
        self._do(child, child.watch.tick(now), now)

    def _next_due(self, now: float) -> float:
        deadlines = [child.watch.deadline for child in self._children.values()]
        if not self._stopping:
            deadlines.append(self._next_check)
        return min([*deadlines, self._systemd.next_deadline, now + 5.0])

    # ── children ──

    def _apply(self, config: Config, now: float) -> None:
        """Start, stop and change children as `config` asks; unchanged ones continue."""
        wanted = wanted_children(config, self._epochs.origin)
        self._config = config
        self._log.hide(secrets_of(config))
        self._log.configure(config.log_level)
        for unwanted in [child for name, child in self._children.items() if name not in wanted]:
            self._do(unwanted, unwanted.watch.shut_down(now), now)
            self._forget_if_down(unwanted)
        for name, each in wanted.items():
            child = self._children.get(name)
            if child is None:
                self._children[name] = Supervised(name, each, now)
                continue
            if child.watch.state is State.LEAVING:  # a server removed and added again at once
                child.watch.rejoin(now)
            child.watch.set_limits(each.limits, now)
            old, child.wanted = child.wanted.configuration, each
            if old != each.configuration:
                self._reconfigure(child, old, now)

    def _reconfigure(self, child: Supervised, old: bytes, now: float) -> None:
        new = child.wanted.configuration
        if child.process is not None and fixed_settings(child.name, old) == fixed_settings(child.name, new):
            child.process.send(new)
        else:
            log.info("%s: configuration changed; restarting it", child.name)
            self._do(child, child.watch.restart(now), now)

    def _do(self, child: Supervised, do: Command, now: float) -> None:
        match do:
            case Command.SPAWN:
                self._spawn(child, now)
            case Command.KILL if child.process is not None:
                child.kill_reason = "it did not end after SIGTERM" if child.was_terminated else "its event loop sent no beat"
                log.error("%s: %s; sending SIGKILL", child.name, child.kill_reason, extra={"child": child.name})
                child.process.signal(signal.SIGKILL)
            case Command.TERM if child.process is not None:
                child.was_terminated = True
                child.process.signal(signal.SIGTERM)

    def _spawn(self, child: Supervised, now: float) -> None:
        try:
            on_lines = partial(self._read_lines, child)
            child.process = Process(child.name.split(), child.wanted.configuration, on_lines, self._pass_soon)
        except OSError as error:
            child.last_exit = f"could not be started: {error}"
            log.error("%s %s", child.name, child.last_exit, extra={"child": child.name})
            child.watch.exit(now)
            return
        if self._log.level_signal == signal.SIGUSR1:
            child.process.signal(signal.SIGUSR1)
        log.debug("%s: started with pid %d", child.name, child.process.pid)

    def _read_lines(self, child: Supervised) -> None:
        """Every line of the child is a beat; a line with text is a request as well."""
        if child.process is None:
            return
        now = clock.monotonic()
        was_up = child.watch.state is State.UP
        for line in child.process.read_lines():
            self._do(child, child.watch.beat(now), now)
            if line:
                self._carry_out(child, line, now)
        if not was_up and child.watch.state is State.UP:
            child.record_sockets(self._run_dir.path)
            self._pass_soon()

    def _carry_out(self, child: Supervised, line: str, now: float) -> None:
        verb, _, rest = line.partition(" ")
        if verb == "problem":
            child.problem = rest
        elif verb == "restart" and (reader := self._children.get(f"reader {rest}")) is not None:
            log.warning("%s: restarting it at a caller's request", reader.name)
            self._do(reader, reader.watch.restart(now), now)
        self._pass_soon()

    def _reap(self, now: float) -> None:
        for child in list(self._children.values()):
            if child.process is None or not child.process.poll():
                continue
            child.record_exit(child.process.close())
            self._do(child, child.watch.exit(now), now)
            if child.last_exit not in AS_ASKED and child.watch.state is State.WAITING:  # it failed, and is started again
                message = "%s ended (%s); starting it again in %.1f s"
                log.error(message, child.name, child.last_exit, child.watch.deadline - now, extra={"child": child.name})
            if not self._stopping:
                self._forget_if_down(child)

    def _forget_if_down(self, child: Supervised) -> None:
        """Drop a child that was removed from the configuration and has ended."""
        if child.watch.state is State.DOWN:
            del self._children[child.name]
            if child.name.startswith("reader "):
                self._run_dir.clean_after(child.name.removeprefix("reader "))

    def _begin_shutdown(self, now: float) -> None:
        """End the broker first, and the readers once it has answered all callers."""
        broker = self._children[BROKER]
        down = broker.watch.state is State.DOWN
        for child in [child for child in self._children.values() if child is not broker] if down else [broker]:
            if child.watch.state is not State.LEAVING:
                self._do(child, child.watch.shut_down(now), now)

    # ── run_dir ──

    def _check_run_dir(self, now: float) -> None:
        """Recover run_dir, by whose files programs find amid; lost sockets need new children."""
        try:
            self._epochs.extend(now)
        except RunDirError as error:
            log.error("%s", error)
        if not self._run_dir.is_ours():
            log.error("run_dir %s was removed or replaced; programs cannot reach amid", self._run_dir.path)
            try:
                self._run_dir.recover()
            except RunDirTaken as error:
                self._taken = error
                log.error("run_dir was taken over: %s; this amid ends", error)
                self.stop()
                return
            except RunDirError as error:
                log.error("%s; trying again each second", error)
                return
            log.warning("run_dir %s was created and locked again", self._run_dir.path)
        if not self._run_dir.has_status():
            self._status = ""
        for child in self._children.values():
            lost = child.lost_socket() if child.watch.state is State.UP else None
            if lost is not None:
                message = "%s: restarting it: its socket %s was removed or replaced"
                log.error(message, child.name, lost, extra={"child": child.name})
                self._do(child, child.watch.restart(now), now)

    # ── signals, systemd, status ──

    def _listen_to_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self.stop)
        for number in LEVEL_SIGNALS:
            self._loop.add_signal_handler(number, self._forward_level, number)
        self._loop.add_signal_handler(signal.SIGHUP, self._reload_config)

    def _forward_level(self, number: signal.Signals) -> None:
        """Forward the log level to every child, including those started later."""
        self._log.receive_signal(number)
        for child in self._children.values():
            if child.process is not None:
                child.process.signal(number)

    def _reload_config(self) -> None:
        now = clock.monotonic()
        if self._stopping:
            return
        if self._reload is None:
            log.warning("SIGHUP ignored: amid was started without a configuration file")
            return
        self._systemd.reloading(now)
        try:
            self._apply_reloaded(self._reload(), now)
        except ConfigError as error:
            problems = "; ".join(str(error).splitlines())
            log.error("SIGHUP: nothing was changed, because the new configuration is invalid: %s", problems)
        except Exception as error:  # the running children must not be affected
            log.exception("SIGHUP: cannot apply the new configuration: %s", error)
        self._notify_ready()
        self._pass_soon()

    def _apply_reloaded(self, config: Config, now: float) -> None:
        fixed = [key for key in ("run_dir", "state_dir") if getattr(config, key) != getattr(self._config, key)]
        if fixed:
            log.error("SIGHUP: nothing was changed: %s cannot change while amid runs; restart amid", " and ".join(fixed))
        else:
            log.info("SIGHUP: configuration read")
            self._apply(config, now)

    def _is_ready(self) -> bool:
        """Clients such as the gateway do not count: their ports may be in use by other programs."""
        return all(child.watch.state is State.UP for child in self._children.values() if child.name not in CLIENTS)

    def _notify_ready(self) -> None:
        self._systemd.ready(f"servers: {', '.join(self._config.servers) or 'none'}")

    def _write_status(self) -> None:
        """Write the status of all processes if it has changed; `started` is on the monotonic clock."""
        own = {"name": "supervisor", "pid": os.getpid(), "started": self._started, "restarts": 0, "last_exit": "", "problem": ""}
        children = [child.account() for child in self._children.values()]
        status = json.dumps({"started": self._started, "processes": [own, *children]})
        if status != self._status:
            self._status = status if self._run_dir.write_status(status) else ""
