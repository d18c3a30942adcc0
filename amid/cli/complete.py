"""Shell completion: the actions and servers of the running daemon, and common event names.

A completion waits at most a second for the daemon. Without a daemon it offers nothing and prints
nothing.
"""

from __future__ import annotations

from typing import Any

import click
from click.shell_completion import CompletionItem, get_completion_class

from amid.client import Client
from amid.errors import AmidError

TIMEOUT_S = 0.5
"""Timeout in seconds for the daemon's answer; a daemon that cannot be reached is given up after one
second."""

EVENTS = [
    "AgentCalled",
    "AgentComplete",
    "AgentConnect",
    "AgentRingNoAnswer",
    "AttendedTransfer",
    "BlindTransfer",
    "BridgeCreate",
    "BridgeDestroy",
    "BridgeEnter",
    "BridgeLeave",
    "Cdr",
    "ChannelTalkingStart",
    "ChannelTalkingStop",
    "ConfbridgeEnd",
    "ConfbridgeJoin",
    "ConfbridgeLeave",
    "ConfbridgeStart",
    "ContactStatus",
    "DeviceStateChange",
    "DialBegin",
    "DialEnd",
    "DialState",
    "DTMFBegin",
    "DTMFEnd",
    "ExtensionStatus",
    "Hangup",
    "HangupRequest",
    "Hold",
    "InvalidPassword",
    "LocalBridge",
    "MessageWaiting",
    "MixMonitorStart",
    "MixMonitorStop",
    "MusicOnHoldStart",
    "MusicOnHoldStop",
    "NewCallerid",
    "NewConnectedLine",
    "NewExten",
    "Newchannel",
    "Newstate",
    "OriginateResponse",
    "ParkedCall",
    "PeerStatus",
    "PresenceStateChange",
    "QueueCallerAbandon",
    "QueueCallerJoin",
    "QueueCallerLeave",
    "QueueMemberAdded",
    "QueueMemberPause",
    "QueueMemberRemoved",
    "QueueMemberStatus",
    "Registry",
    "Rename",
    "RTCPReceived",
    "RTCPSent",
    "SuccessfulAuth",
    "Unhold",
    "UnParkedCall",
    "UserEvent",
    "VarSet",
    "amid:booted",
    "amid:connected",
    "amid:disconnected",
]


def actions(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    offered = _query(ctx, lambda client: client.actions(ctx.params.get("server"), timeout=TIMEOUT_S))
    return [CompletionItem(a["name"], help=a["synopsis"]) for a in offered if _begins(a["name"], incomplete)]


def servers(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    listed = _query(ctx, lambda client: client.servers(timeout=TIMEOUT_S))
    return [CompletionItem(s["name"], help=s["state"]) for s in listed if _begins(s["name"], incomplete)]


def events(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in EVENTS if _begins(name, incomplete)]


def _begins(name: str, incomplete: str) -> bool:
    return name.lower().startswith(incomplete.lower())


def _query(ctx: click.Context, query: Any) -> list[dict[str, Any]]:
    try:
        with Client(ctx.find_root().params.get("run_dir")) as client:
            answer: list[dict[str, Any]] = query(client)
            return answer
    except AmidError:
        return []


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script for a shell.

    \b
    bash:  amid completion bash > ~/.local/share/bash-completion/completions/amid
    zsh:   amid completion zsh > a directory of $fpath, as _amid
    fish:  amid completion fish > ~/.config/fish/completions/amid.fish
    """
    script = get_completion_class(shell)
    assert script is not None, "click knows the three shells"
    click.echo(script(ctx.find_root().command, {}, "amid", "_AMID_COMPLETE").source())
