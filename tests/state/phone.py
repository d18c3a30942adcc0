"""A SIP phone for storms. It makes two calls and connects their parties by an attended transfer
(RFC 3515, RFC 3891), as the key "transfer" of a desk phone does."""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import quote

HOST = "127.0.0.1"
BOUND_S = 10.0
"""Seconds for each step: both answers, the transfer, and the end of both calls."""
CONSULTATION_S = 0.5
"""Seconds between the answers and the transfer. A transfer in the moment of an answer may put a channel
into the bridge in place of another one, which no event shows (seen on Asterisk 16)."""
SDP = f"v=0\r\no=- 1 1 IN IP4 {HOST}\r\ns=-\r\nc=IN IP4 {HOST}\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"


@dataclass
class Call:
    """A dialog (RFC 3261, section 12), in which the phone is the caller. status: by method, of the final
    answer; of NOTIFY, the status of the transfer that the last one reports."""

    exten: str
    call_id: str
    tag: str
    to_tag: str = ""
    requests: int = 0
    ended: bool = False
    status: dict[str, int] = field(default_factory=dict)


class Phone:
    """With Asterisk's SIP port. transferred: how many transfers Asterisk carried out."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((HOST, 0))
        self._own_port = self._socket.getsockname()[1]
        self._numbers = itertools.count(1)
        self._calls: dict[str, Call] = {}
        self.transferred = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._socket.close()

    def transfer(self, extens: tuple[str, str]) -> None:
        """Call both extensions, and connect the two parties if both have answered."""
        calls = [self._call(exten) for exten in extens]
        self._receive(lambda: all(call.ended or "INVITE" in call.status for call in calls))
        first, second = calls
        if {call.status.get("INVITE") for call in calls} == {200}:
            self._receive(lambda: False, CONSULTATION_S)
            replaces = quote(f"{second.call_id};to-tag={second.to_tag};from-tag={second.tag}", safe="")
            self._send(first, "REFER", [f"Refer-To: <sip:{second.exten}@{HOST}:{self._port}?Replaces={replaces}>"])
            self._receive(lambda: first.status.get("REFER", 0) >= 300 or first.status.get("NOTIFY", 0) >= 200)
            self.transferred += first.status.get("NOTIFY") == 200
        for call in calls:
            if not call.ended:
                self._send(call, "BYE", [])
        self._receive(lambda: all(call.ended or "BYE" in call.status for call in calls))
        for call in calls:
            del self._calls[call.call_id]

    def _call(self, exten: str) -> Call:
        number = next(self._numbers)
        call = self._calls[f"{number}-{self._own_port}"] = Call(exten, f"{number}-{self._own_port}", f"tag{number}")
        self._send(call, "INVITE", ["Content-Type: application/sdp"], SDP)
        return call

    def _send(self, call: Call, method: str, more: list[str], body: str = "") -> None:
        call.requests += method != "ACK"
        lines = [
            f"{method} sip:{call.exten}@{HOST}:{self._port} SIP/2.0",
            f"Via: SIP/2.0/UDP {HOST}:{self._own_port};branch=z9hG4bK{call.call_id}-{call.requests}-{method}",
            f"From: <sip:phone@{HOST}>;tag={call.tag}",
            f"To: <sip:{call.exten}@{HOST}>" + (f";tag={call.to_tag}" if call.to_tag else ""),
            f"Call-ID: {call.call_id}",
            f"CSeq: {call.requests} {method}",
            f"Contact: <sip:phone@{HOST}:{self._own_port}>",
            "Max-Forwards: 70",
            *more,
            f"Content-Length: {len(body)}",
        ]
        self._socket.sendto(("\r\n".join(lines) + "\r\n\r\n" + body).encode(), (HOST, self._port))

    def _receive(self, until: Callable[[], bool], bound: float = BOUND_S) -> None:
        """Process messages until this is true, or for so many seconds."""
        end = time.monotonic() + bound
        while not until() and (left := end - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                self._take(self._socket.recv(65536).decode())
            except TimeoutError:
                return

    def _take(self, message: str) -> None:
        head, _, body = message.partition("\r\n\r\n")
        first, *lines = head.split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        call = self._calls.get(headers.get("call-id", ""))
        if not first.startswith("SIP/2.0"):
            kept = [line for line in lines if line.split(":")[0].lower() in ("via", "from", "to", "call-id", "cseq")]
            self._socket.sendto("\r\n".join(["SIP/2.0 200 OK", *kept, "Content-Length: 0", "", ""]).encode(), (HOST, self._port))
            if call is not None and first.startswith("BYE"):
                call.ended = True
            elif call is not None and first.startswith("NOTIFY"):
                call.status["NOTIFY"] = int(body.split()[1])
        elif call is not None and (status := int(first.split()[1])) >= 200:
            method = headers["cseq"].split()[1]
            call.status[method] = status
            if method == "INVITE":
                call.ended = status >= 300
                call.to_tag = headers["to"].partition(";tag=")[2]
                self._send(call, "ACK", [])
