"""The actions of the simulated PBX, in a table that the modules of this package fill."""

from __future__ import annotations

from amid.simulator.actions import channels, console, queues, recording, sessions, system, talks
from amid.simulator.actions.answer import ACTIONS, act

__all__ = ["ACTIONS", "act", "channels", "console", "queues", "recording", "sessions", "system", "talks"]
