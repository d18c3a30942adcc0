"""The actions that the simulated PBX understands: one table, filled by the modules beside this one."""

from __future__ import annotations

from amid.simulator.actions import channels, console, queues, recording, sessions, system, talks
from amid.simulator.actions.answer import ACTIONS, act

__all__ = ["ACTIONS", "act", "channels", "console", "queues", "recording", "sessions", "system", "talks"]
