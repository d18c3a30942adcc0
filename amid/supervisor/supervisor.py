"""The supervisor: starts the broker and a reader for each server, watches their beats, and replaces what hangs or dies.

It holds no ZeroMQ and no TCP, and knows nothing of AMI: a list of children, a pipe to and from each, and `supervision.watch` to
decide. A child is judged only after a last look at its pipe.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
from collections.abc import Callable

from amid.config import Config, ConfigError, secrets_of
from amid.process.log import LEVEL_SIGNALS, Log
from amid.process.loop import Alarm, Soon, clock
from amid.process.run_dir import RunDir, RunDirError, RunDirTaken
from amid.supervision.watch import Do, State
from amid.supervisor.child_process import Process
from amid.supervisor.children import BROKER, GATEWAY, Supervised, fixed_settings, wanted_children
from amid.supervisor.epochs import Epochs
from amid.supervisor.notify import Systemd

log = logging.getLogger("amid.supervisor")

LATE_S = 1.0
"""A pass that comes this many seconds after it was due means that the supervisor itself was suspended."""

RUN_DIR_CHECK_S = 1.0
"""Seconds between two looks whether run_dir and the sockets in it are still amid's."""


class Supervisor:
    """Made on the running loop; `run` returns when everything has ended. `reload` reads the configuration again; it may raise
    `ConfigError`."""

    def __init__(
        self, config: Config, run_dir: RunDir, epochs: Epochs, process_log: Log, reload: Callable[[], Config] | None
    ) -> None:
        self._config = config
        self._run_dir = run_dir
        self._epochs = epochs
        self._taken: RunDirTaken | None = None
        self._reload = reload
        self._log = process_log
        self._level_signal = signal.SIGUSR2  # the last one received
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        self._pass_soon = Soon(self._loop, self._pass)
        self._alarm = Alarm(self._loop, self._pass)
        self._started = now = clock.monotonic()
        self._children: dict[str, Supervised] = {}
        self._stopping = False
        self._ready = False
        self._systemd = Systemd(now)
        self._next_check = now + RUN_DIR_CHECK_S
        self._due = now
        self._listen_to_signals()
        self._apply(config, now)

    async def run(self) -> None:
        """Raises `RunDirTaken` at the end when that is why it ended."""
        log.info("amid runs in %s with servers %s", self._run_dir.path, ", ".join(self._config.servers) or "none")
        self._pass_soon()
        await self._over.wait()
        self._alarm.cancel()
        log.info("ended")
        if self._taken is not None:
            raise self._taken

    def stop(self) -> None:
        """End everything: the broker first, which answers what is in flight, then the readers, which log off."""
        if not self._stopping:
            log.info("ending")
            self._systemd.stopping()
        self._stopping = True
        self._pass_soon()

    def _pass(self) -> None:
        """Reap, judge, and do what is due: at each deadline, and whenever a child or a signal was heard."""
        now = clock.monotonic()
        if now > self._due + LATE_S:
            log.warning("supervisor was suspended for %.1f s; child deadlines extended", now - self._due)
            for child in self._children.values():
                child.watch.amnesty(now)
        self._reap(now)
        if self._stopping:
            self._begin_shutdown(now)
        elif now >= self._next_check:
            self._next_check = now + RUN_DIR_CHECK_S
            self._check_run_dir(now)
        for child in list(self._children.values()):
            self._judge(child, now)
        if self._run_dir.behind:
            self._write_status()
        if not self._ready and self._is_ready():
            self._ready = True
            self._notify_ready()
        self._systemd.step(now)
        self._due = self._next_due(now)
        self._alarm.set(self._due)
        if self._stopping and all(child.watch.state is State.DOWN for child in self._children.values()):
            self._over.set()

    def _judge(self, child: Supervised, now: float) -> None:
        if child.watch.deadline is not None and now >= child.watch.deadline:
            self._read_lines(child)  # its beat may be in the pipe
        self._do(child, child.watch.tick(now), now)

    def _next_due(self, now: float) -> float:
        deadlines = [child.watch.deadline for child in self._children.values() if child.watch.deadline is not None]
        if not self._stopping:
            deadlines.append(self._next_check)
        return min([*deadlines, self._systemd.next_deadline, now + 5.0])

    # ── children ──

    def _apply(self, config: Config, now: float) -> None:
        """Make the children those of `config`; whatever does not differ is left alone."""
        wanted = wanted_children(config, self._epochs.origin)
        self._config = config
        self._log.hide(secrets_of(config))
        if self._log.configure(config.log_level):
            self._level_signal = signal.SIGUSR2
        for unwanted in [child for name, child in self._children.items() if name not in wanted]:
            self._do(unwanted, unwanted.watch.leave(now), now)
            self._forget_if_down(unwanted)
        for name, each in wanted.items():
            child = self._children.get(name)
            if child is None:
                self._children[name] = Supervised(name, each, now)
                continue
            if child.watch.state is State.LEAVING:  # a server taken out and put back at once
                child.watch.rejoin(now)
            child.watch.judge_by(each.limits, now)
            if child.configuration != each.configuration:
                self._reconfigure(child, each.configuration, now)

    def _reconfigure(self, child: Supervised, configuration: bytes, now: float) -> None:
        old, child.configuration = child.configuration, configuration
        if child.process is not None and fixed_settings(child.name, old) == fixed_settings(child.name, configuration):
            child.process.send(configuration)
            self._await_input(child)
        else:
            log.info("%s: its configuration changed; it is started anew", child.name)
            self._do(child, child.watch.restart(now), now)

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
        self._loop.add_reader(child.process.lines, self._read_lines, child)
        self._loop.add_reader(child.process.end, self._pass_soon)
        self._await_input(child)
        if self._level_signal == signal.SIGUSR1:
            child.process.signal(self._level_signal)
        log.debug("%s: started as %d", child.name, child.process.pid)

    def _await_input(self, child: Supervised) -> None:
        """Write the rest of a configuration that its pipe did not take at once, when it does."""
        process = child.process
        if process is None:
            return
        if process.unsent:
            self._loop.add_writer(process.input, self._send_rest, child)
        else:
            self._loop.remove_writer(process.input)

    def _send_rest(self, child: Supervised) -> None:
        if child.process is not None:
            child.process.flush()
            self._await_input(child)

    def _read_lines(self, child: Supervised) -> None:
        """Every line on the child's pipe is a beat; one with text is a request besides."""
        process = child.process
        if process is None:
            return
        lines = process.read_lines()
        if lines is None:
            self._loop.remove_reader(process.lines)
            return
        now = clock.monotonic()
        was_up = child.watch.state is State.UP
        for line in lines:
            self._do(child, child.watch.beat(now), now)
            if line:
                self._carry_out(line, now)
        if not was_up and child.watch.state is State.UP:
            child.record_sockets(self._run_dir.path)
            self._write_status()
            self._pass_soon()

    def _carry_out(self, line: str, now: float) -> None:
        verb, _, name = line.partition(" ")
        child = self._children.get(f"reader {name}")
        if verb == "restart" and child is not None:
            log.warning("reader %s is replaced because a caller asked for it", name)
            self._do(child, child.watch.restart(now), now)
            self._pass_soon()

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
        self._loop.remove_reader(child.process.lines)
        self._loop.remove_reader(child.process.end)
        self._loop.remove_writer(child.process.input)
        child.last_exit = child.process.close()
        child.process_failed = child.last_exit != "status 0"
        child.process = None

    def _begin_shutdown(self, now: float) -> None:
        """The broker first; the readers when it has answered everybody."""
        broker = self._children[BROKER]
        down = broker.watch.state is State.DOWN
        for child in [child for child in self._children.values() if child is not broker] if down else [broker]:
            if child.watch.state is not State.LEAVING:
                self._do(child, child.watch.leave(now), now)

    # ── run_dir ──

    def _check_run_dir(self, now: float) -> None:
        """Programs find amid by the files in run_dir: what is lost there is bound again, by new children."""
        if self._epochs.extend(now):
            self._claim()
        if not self._run_dir.is_ours():
            log.error("run_dir %s was removed or replaced while amid runs; programs cannot reach it", self._run_dir.path)
            try:
                self._run_dir.recover()
            except RunDirTaken as error:
                self._taken = error
                log.error("run_dir was taken: %s; this one ends", error)
                self.stop()
                return
            except RunDirError as error:
                log.error("%s; trying again each second", error)
                return
            log.warning("run_dir %s was made and locked again", self._run_dir.path)
        if not self._run_dir.has_status():
            self._write_status()
        for child in self._children.values():
            lost = child.lost_socket() if child.watch.state is State.UP else None
            if lost is not None:
                log.error("%s is restarted: its socket %s was removed or replaced", child.name, lost, extra={"child": child.name})
                self._do(child, child.watch.restart(now), now)

    def _claim(self) -> None:
        try:
            self._run_dir.claim(self._epochs.reserve)
        except RunDirError as error:
            log.error("%s", error)

    # ── signals, systemd, status ──

    def _listen_to_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self.stop)
        for number in LEVEL_SIGNALS:
            self._loop.add_signal_handler(number, self._pass_on, number)
        self._loop.add_signal_handler(signal.SIGHUP, self._take_new_config)

    def _pass_on(self, number: signal.Signals) -> None:
        """A level for the log that every child takes too, those that are yet to start among them."""
        self._level_signal = number
        self._log.hear(number)
        for child in self._children.values():
            if child.process is not None:
                child.process.signal(number)

    def _take_new_config(self) -> None:
        now = clock.monotonic()
        if self._stopping:
            return
        if self._reload is None:
            log.warning("SIGHUP: this amid was started without a file; there is nothing to read again")
            return
        self._systemd.reloading(now)
        try:
            config = self._reload()
            self._take(config, now)
        except ConfigError as error:
            problems = "; ".join(str(error).splitlines())
            log.error("SIGHUP: nothing was changed, because the new configuration is not right: %s", problems)
        except Exception as error:  # whatever is wrong, what runs goes on
            log.exception("SIGHUP: the new configuration could not be used: %s", error)
        self._notify_ready()
        self._pass_soon()

    def _take(self, config: Config, now: float) -> None:
        fixed = [key for key in ("run_dir", "state_dir") if getattr(config, key) != getattr(self._config, key)]
        if fixed:
            log.error("SIGHUP: nothing was changed: %s cannot change while amid runs; restart it", " and ".join(fixed))
        else:
            log.info("SIGHUP: configuration read")
            self._apply(config, now)

    def _is_ready(self) -> bool:
        """Without the gateway, whose port may be another program's."""
        return all(child.watch.state is State.UP for child in self._children.values() if child.name != GATEWAY)

    def _notify_ready(self) -> None:
        self._systemd.ready(f"servers: {', '.join(self._config.servers) or 'none'}")

    def _write_status(self) -> None:
        """The account of the processes; `started` is on the monotonic clock, which no clock step moves."""
        own = {"name": "supervisor", "pid": os.getpid(), "started": self._started, "restarts": 0, "last_exit": ""}
        children = [child.account() for child in self._children.values()]
        self._run_dir.write_status(json.dumps({"started": self._started, "processes": [own, *children]}))
