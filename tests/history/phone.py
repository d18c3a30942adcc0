"""A SIP phone for tests, without sound: the part of RFC 3261 that the scenarios need.

A thread answers the requests of Asterisk. Tests call its methods to dial, answer, hold, transfer
and hang up.
"""

from __future__ import annotations

import itertools
import re
import socket
import threading
from typing import Self

from tests.daemon import eventually

_ids = itertools.count(1)


class Dialog:
    """One call of the phone. `refused`: the final status of the other end, if it is over 299."""

    def __init__(self, phone: Phone, call_id: str, invite: str = "") -> None:
        self.phone = phone
        self.call_id = call_id
        self.invite = invite
        self.tag = f"t{next(_ids)}"
        self.local = self.remote = self.target = ""
        self.cseq = 0
        self.refused = 0
        self.answered = threading.Event()
        self.ended = threading.Event()

    def send(self, method: str, *headers: str, body: str = "", cseq: int = 0) -> None:
        """Send a request in this dialog."""
        if not cseq:
            self.cseq += 1
        head = [
            f"{method} {self.target} SIP/2.0",
            f"Via: SIP/2.0/UDP {self.phone.address};branch=z9hG4bK{next(_ids)};rport",
            "Max-Forwards: 70",
            f"From: {self.local}",
            f"To: {self.remote}",
            f"Call-ID: {self.call_id}",
            f"CSeq: {cseq or self.cseq} {method}",
            f"Contact: <sip:{self.phone.user}@{self.phone.address}>",
            *headers,
        ]
        self.phone.transmit(head, body)

    def answer(self) -> None:
        self.phone.reply(self.invite, "200 OK", self, body=self.phone.sdp())
        self.answered.set()

    def hang_up(self) -> None:
        self.send("BYE")

    def cancel(self) -> None:
        """End a call that is not answered yet."""
        self.phone.cancel(self)

    def hold(self, on: bool) -> None:
        self.send("INVITE", body=self.phone.sdp("sendonly" if on else "sendrecv"))

    def transfer(self, extension: str) -> None:
        """Blind transfer."""
        self.send("REFER", f"Refer-To: <sip:{extension}@{self.phone.pbx}>")

    def connect_with(self, other: Dialog) -> None:
        """Attended transfer: connect the other end of this call with that of `other`."""
        remote = re.search(r"tag=([^;>\s]+)", other.remote)
        assert remote is not None
        replaces = f"{other.call_id}%3Bto-tag%3D{remote[1]}%3Bfrom-tag%3D{other.tag}"
        self.send("REFER", f"Refer-To: <sip:x@{self.phone.pbx}?Replaces={replaces}>")

    def until_answered(self) -> Dialog:
        eventually(lambda: self.answered.is_set() or self.refused, "the call is answered")
        assert not self.refused, self.refused
        return self

    def until_ended(self) -> None:
        eventually(self.ended.is_set, "the call has ended")


class Phone:
    """mode: what it does with a call: "ring", "busy", or an extension to forward it to."""

    def __init__(self, user: str, name: str, ip: str, pbx_port: int) -> None:
        self.user, self.name, self.mode = user, name, "ring"
        self.pbx = f"127.0.0.1:{pbx_port}"
        self.address = f"{ip}:{pbx_port}"
        self.ringing: Dialog | None = None
        self._peer = ("127.0.0.1", pbx_port)
        self._dialogs: dict[str, Dialog] = {}
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((ip, pbx_port))
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.sendto(b"over", self._socket.getsockname())
        self._thread.join()
        self._socket.close()

    def call(self, extension: str) -> Dialog:
        dialog = Dialog(self, f"call-{next(_ids)}-{self.user}")
        dialog.local = f'"{self.name}" <sip:{self.user}@{self.address}>;tag={dialog.tag}'
        dialog.target = f"sip:{extension}@{self.pbx}"
        dialog.remote = f"<{dialog.target}>"
        self._dialogs[dialog.call_id] = dialog
        dialog.send("INVITE", body=self.sdp())
        return dialog

    def until_ringing(self) -> Dialog:
        eventually(lambda: self.ringing is not None, f"{self.name}'s phone rings")
        assert self.ringing is not None
        return self.ringing

    def sdp(self, direction: str = "sendrecv") -> str:
        host = self.address.partition(":")[0]
        lines = ["v=0", f"o=- 1 {next(_ids)} IN IP4 {host}", "s=-", f"c=IN IP4 {host}", "t=0 0", "m=audio 40000 RTP/AVP 0"]
        return "\r\n".join([*lines, "a=rtpmap:0 PCMU/8000", f"a={direction}", ""])

    def transmit(self, head: list[str], body: str = "") -> None:
        more = ["Content-Type: application/sdp"] if body else []
        self._socket.sendto("\r\n".join([*head, *more, f"Content-Length: {len(body)}", "", body]).encode(), self._peer)

    def cancel(self, dialog: Dialog) -> None:
        dialog.send("CANCEL", cseq=dialog.cseq)

    def reply(self, request: str, status: str, dialog: Dialog | None = None, *more: str, body: str = "") -> None:
        head = [f"SIP/2.0 {status}", *re.findall(r"(?im)^(?:via|from|call-id|cseq):.*?(?=\r?$)", request)]
        to = header(request, "To")
        tag = f";tag={dialog.tag}" if dialog and "tag=" not in to else ""
        contact = more or (f"Contact: <sip:{self.user}@{self.address}>",)
        self.transmit([*head, f"To: {to}{tag}", *contact], body)

    def _run(self) -> None:
        while (data := self._socket.recv(65536)) != b"over":
            text = data.decode("utf-8", "replace")
            if text.startswith("SIP/2.0"):
                self._on_response(text)
            elif text.strip():
                self._on_request(text)

    def _on_response(self, text: str) -> None:
        dialog = self._dialogs.get(header(text, "Call-ID"))
        status = int(text.split(" ", 2)[1])
        number, method = header(text, "CSeq").split()
        if dialog is None or method != "INVITE" or status < 200:
            return
        dialog.remote = header(text, "To")
        if status < 300:
            dialog.target = header(text, "Contact").strip("<>").partition(">")[0]
            dialog.answered.set()
        else:
            dialog.refused = status
            dialog.ended.set()
        dialog.send("ACK", cseq=int(number))

    def _on_request(self, text: str) -> None:
        method = text.partition(" ")[0]
        dialog = self._dialogs.get(header(text, "Call-ID"))
        if method == "INVITE" and dialog is None:
            self._on_invite(text)
        elif method == "INVITE":
            self.reply(text, "200 OK", dialog, body=self.sdp())
        elif method != "ACK":
            self.reply(text, "200 OK", dialog)
        if dialog is not None and method in ("BYE", "CANCEL"):
            if method == "CANCEL":
                self.reply(dialog.invite, "487 Request Terminated", dialog)
                self.ringing = None
            dialog.ended.set()

    def _on_invite(self, text: str) -> None:
        dialog = self._dialogs[header(text, "Call-ID")] = Dialog(self, header(text, "Call-ID"), text)
        dialog.remote = header(text, "From")
        dialog.local = f"{header(text, 'To')};tag={dialog.tag}"
        dialog.target = header(text, "Contact").strip("<>").partition(">")[0]
        if self.mode == "busy":
            self.reply(text, "486 Busy Here", dialog)
        elif self.mode != "ring":
            self.reply(text, "302 Moved Temporarily", dialog, f"Contact: <sip:{self.mode}@{self.pbx}>")
        else:
            self.reply(text, "180 Ringing", dialog)
            self.ringing = dialog


def header(text: str, name: str) -> str:
    found = re.search(rf"(?im)^{name}\s*:\s*(.*?)\r?$", text)
    return found[1] if found else ""
