"""A storm of calls on a real Asterisk: random actions that create, move and end channels, from a
seed."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

from amid import AmidError, Client
from tests.asterisk.server import Asterisk
from tests.state.phone import Phone

QUEUES = ("sales", "repair", "office")
MEMBERS = 4
SIP_EXTENS = ("dialwait", "dial", "conf", "queue2", "wait3")
"""What the SIP phone calls. A phone that is parked shares its bridge with other parked calls, and
Asterisk may transfer one of those, without an event that names it."""

DIALPLAN = """
[oracle]
exten => _wait!,1,Answer()
 same => n,Wait(600)
exten => _short!,1,Answer()
 same => n,Wait(1)
exten => _ring!,1,Ringing()
 same => n,Wait(3)
exten => _agent!,1,Ringing()
 same => n,Wait(0.3)
 same => n,Answer()
 same => n,Wait(2)
exten => dial,1,Dial(Local/agent9@oracle,10)
exten => dialwait,1,Dial(Local/wait9@oracle,10)
exten => dialno,1,Dial(Local/ring9@oracle,2)
exten => _queue[0-9],1,Answer()
 same => n,Set(QUEUE_PRIO=${EXTEN:5})
 same => n,Queue(${QUEUE},r,,,8)
exten => conf,1,Answer()
 same => n,ConfBridge(oracle,room,guest)
exten => park,1,Answer()
 same => n,Park(,r)
exten => pickup,1,Answer()
 same => n,PickupChan(${TARGET},p)
 same => n,Wait(1)
exten => name,1,Set(CALLERID(name)=Call ${RAND(1,9)})
 same => n,Set(CALLERID(num)=${RAND(100,999)})
 same => n,Set(CONNECTEDLINE(num)=${RAND(100,999)})
 same => n,Set(CHANNEL(accountcode)=acc${RAND(1,9)})
 same => n,Answer()
 same => n,Wait(2)

[calls](+)
include => oracle
"""
"""SIP phones call into the context `calls`."""


def configure(asterisk: Asterisk) -> None:
    """Add the dialplan and the queues of the storm."""
    folder = asterisk.private / "etc"
    with (folder / "extensions.conf").open("a") as file:
        file.write(DIALPLAN)
    with (folder / "queues.conf").open("a") as file:
        for queue in QUEUES:
            file.write(
                f"\n[{queue}]\nstrategy = ringall\ntimeout = 5\nretry = 1\nautofill = yes\njoinempty = yes\nringinuse = no\n"
            )
            file.writelines(f"member => Local/agent{n}@oracle,{n},Agent {n}\n" for n in range(MEMBERS))
    asterisk.command("dialplan reload")
    asterisk.command("queue reload all")


class Storm:
    """`with Storm(...)` sends some `rate` actions a second, and a SIP phone transfers calls. most: channels
    beyond which it hangs up instead of originating. transferred: the attended transfers of the phone."""

    def __init__(self, client: Client, sip_port: int, seed: int, rate: float, most: int = 60) -> None:
        self._client = client
        self._sip_port = sip_port
        self._seed = seed
        self._random = random.Random(seed)
        self._pause_s = 1.0 / rate
        self._most = most
        self._over = threading.Event()
        self._threads = [threading.Thread(target=run) for run in (self._run, self._transfer_calls)]
        self.transferred = 0
        self.done = 0
        self.refused = 0
        self.failure: BaseException | None = None

    def __enter__(self) -> Storm:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _transfer_calls(self) -> None:
        chance = random.Random(self._seed)
        with Phone(self._sip_port) as phone:
            while not self._over.wait(10 * self._pause_s):
                phone.transfer((chance.choice(SIP_EXTENS), chance.choice(SIP_EXTENS)))
                self.transferred = phone.transferred

    def _run(self) -> None:
        actions: list[Callable[[list[str]], Any]] = [
            *([self._call] * 12),
            *([self._hang_up] * 4),
            *([self._redirect] * 3),
            self._bridge,
            self._bridge,
            self._transfer,
            self._attended,
            self._park,
            self._pickup,
            *([self._member] * 4),
        ]
        channels: list[str] = []
        while not self._over.wait(self._pause_s):
            try:
                if self.done % 10 == 0:
                    channels = [one["Channel"] for one in self._client.action("CoreShowChannels")["events"]]
                action = self._random.choice(actions)
                action(channels)
            except AmidError as error:
                self.refused += 1
                if error.kind == "invalid_params":
                    self.failure = error
            except IndexError:
                pass  # no channel to act on
            self.done += 1

    def _call(self, channels: list[str]) -> None:
        if len(channels) >= self._most:
            self._hang_up(channels)
            return
        extens = ["dial", "dialwait", "dialno", "conf", "park", "name", "short1", *[f"queue{n}" for n in range(6)]]
        exten = self._random.choice(extens)
        variables = [f"QUEUE={self._random.choice(QUEUES)}"]
        caller = f"Caller {self._random.randrange(99)} <{self._random.randrange(100, 999)}>"
        far = self._random.choice(["short2", "wait2", "name"])
        headers = {"Channel": f"Local/{exten}@oracle", "Context": "oracle", "Exten": far, "Priority": "1"}
        self._client.action("Originate", headers, Async="true", CallerID=caller, Variable=variables)

    def _hang_up(self, channels: list[str]) -> None:
        self._client.action("Hangup", Channel=self._random.choice(channels))

    def _redirect(self, channels: list[str]) -> None:
        exten = self._random.choice(["conf", "park", "queue3", "short3", "dial", "name"])
        where = {"Context": "oracle", "Exten": exten, "Priority": "1"}
        self._client.action("Redirect", where, Channel=self._random.choice(channels))

    def _bridge(self, channels: list[str]) -> None:
        one, other = self._random.choice(channels), self._random.choice(channels)
        self._client.action("Bridge", Channel1=one, Channel2=other, Tone="no", timeout=2.0)

    def _transfer(self, channels: list[str]) -> None:
        exten = self._random.choice(["short4", "queue2", "park", "conf"])
        self._client.action("BlindTransfer", Channel=self._random.choice(channels), Exten=exten, Context="oracle")

    def _attended(self, channels: list[str]) -> None:
        self._client.action("Atxfer", Channel=self._random.choice(channels), Exten="short5", Context="oracle", Priority="1")

    def _park(self, channels: list[str]) -> None:
        self._client.action("Park", Channel=self._random.choice(channels), Timeout="4000")

    def _pickup(self, channels: list[str]) -> None:
        target = self._random.choice(channels)
        headers = {"Channel": "Local/pickup@oracle", "Context": "oracle", "Exten": "short6", "Priority": "1"}
        self._client.action("Originate", headers, Async="true", Variable=[f"TARGET={target}"])

    def _member(self, channels: list[str]) -> None:
        queue, member = self._random.choice(QUEUES), f"Local/agent{self._random.randrange(MEMBERS)}@oracle"
        match self._random.randrange(4):
            case 0:
                paused = self._random.choice(["true", "false"])
                self._client.action("QueuePause", Queue=queue, Interface=member, Paused=paused, Reason="lunch")
            case 1:
                self._client.action("QueuePenalty", Queue=queue, Interface=member, Penalty=str(self._random.randrange(5)))
            case 2:
                self._client.action("QueueAdd", Queue=queue, Interface="Local/agent9@oracle", MemberName="Temp")
            case _:
                self._client.action("QueueRemove", Queue=queue, Interface="Local/agent9@oracle")
