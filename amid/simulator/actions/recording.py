"""Actions that record a channel: MixMonitor, and Monitor in the versions that have it."""

from __future__ import annotations

from amid.simulator.actions.answer import Answer, action
from amid.simulator.actions.channels import find_channel


@action("MixMonitor", "system", "Record a call and mix the audio during the recording.")
def mix_monitor(answer: Answer) -> None:
    if (channel := find_channel(answer)) is None:
        return
    if not answer.get("File"):
        return answer.error("Could not start monitoring channel")
    channel.recorder = "MixMonitor"
    answer.success()
    answer.pbx.set_variable(channel, "MIXMONITOR_FILENAME", answer.get("File"))
    answer.pbx.emit("MixMonitorStart", "call", channel.snapshot())


@action(
    "StopMixMonitor",
    "system,call",
    "Stop recording a call through MixMonitor, and free the recording's file handle.",
)
def stop_mix_monitor(answer: Answer) -> None:
    if (channel := find_channel(answer)) is None:
        return
    if channel.recorder != "MixMonitor":
        return answer.error("Could not stop monitoring channel")
    channel.recorder = None
    answer.success()
    answer.pbx.emit("MixMonitorStop", "call", channel.snapshot())


@action("Monitor", "call", "Monitor a channel.", until=20)
def monitor(answer: Answer) -> None:
    if (channel := find_channel(answer)) is not None:
        channel.recorder = "Monitor"
        answer.success("Started monitoring channel")
        answer.pbx.set_variable(channel, "__MONITORED", "true")
        answer.pbx.emit("MonitorStart", "call", channel.snapshot())


@action("StopMonitor", "call", "Stop monitoring a channel.", until=20)
def stop_monitor(answer: Answer) -> None:
    if (channel := find_channel(answer)) is not None:
        channel.recorder = None
        answer.success("Stopped monitoring channel")
        answer.pbx.emit("MonitorStop", "call", channel.snapshot())
        answer.pbx.set_variable(channel, "MONITORED", "")
