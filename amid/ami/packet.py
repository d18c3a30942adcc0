"""One AMI packet: a block of header lines, kept as received and parsed on demand.

Most events are used by name only, so parsing their headers is deferred. A value that is valid UTF-8
becomes str, any other stays bytes: no byte is lost or guessed.
"""

from __future__ import annotations

from typing import Any

Text = str | bytes
"""A header's value: str if it is valid UTF-8, else bytes."""

Headers = dict[Text, Text | list[Text]]
"""Header name -> value, or the list of values, in order, of a repeated header."""

FOLLOWS = b"response: follows"
END_COMMAND = b"--END COMMAND--"


class ProtocolError(Exception):
    """The peer does not speak AMI or exceeds a limit. The session must end."""


def text(raw: bytes) -> Text:
    """`raw` as str if it is UTF-8, else unchanged."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


class Packet:
    """A packet as received, without its closing empty line."""

    __slots__ = ("_action_id", "_headers", "_response", "raw")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self._headers: Headers | None = None
        self._response: str | None = None  # each answer is asked for these several times
        self._action_id: str | None = None

    @property
    def headers(self) -> Headers:
        """All headers, as received. A line without a colon is a value of the header ""."""
        if self._headers is None:
            is_old = is_old_command(self.raw)
            self._headers = parse_headers(self.raw[: _old_output_start(self.raw)].rstrip(b"\r\n") if is_old else self.raw)
        return self._headers

    def get(self, name: str) -> str:
        """The first value of the header `name`, compared without case; "" if missing."""
        value = self._value(name)
        if isinstance(value, list):
            value = value[0]
        if isinstance(value, str):
            return value
        return value.decode("utf-8", "replace") if value is not None else ""

    def _value(self, name: str) -> Text | list[Text] | None:
        headers = self.headers
        if name in headers:
            return headers[name]
        size = len(name)
        for key in headers:
            if len(key) == size and isinstance(key, str) and key.lower() == name.lower():
                return headers[key]
        return None

    @property
    def event(self) -> str:
        """The event's name; "" if this is not an event.

        OriginateResponse, which has Event before Response, is an event. A packet that begins with
        Response never is, or a Getvar's value with line ends in it could forge one.
        """
        if self.raw[:7] == b"Event: ":
            end = self.raw.find(b"\n")
            line = self.raw[7:] if end < 0 else self.raw[7:end]
            return line.rstrip(b"\r").decode("utf-8", "replace")
        return "" if self.raw[:9].lower() == b"response:" else self.get("Event")

    @property
    def response(self) -> str:
        """`Success`, `Error`, `Goodbye`, …; "" if this is not a response."""
        if self._response is None:
            self._response = "" if self.event else self.get("Response")
        return self._response

    @property
    def action_id(self) -> str:
        if self._action_id is None:
            self._action_id = self.get("ActionID")
        return self._action_id

    @property
    def output(self) -> list[Text]:
        """The lines that a Command printed, in the format of Asterisk
        14 and later or in the older one."""
        if is_old_command(self.raw):
            return _old_output(self.raw)
        value = self._value("Output")
        if value is None:
            return []
        return value if isinstance(value, list) else [value]

    @property
    def lines(self) -> list[Text]:
        """The packet's lines as received, for the few answers that are not headers."""
        return [text(line.removesuffix(b"\r")) for line in self.raw.split(b"\n")]


def parse_headers(raw: bytes) -> Headers:
    """The headers in a block of lines.

    A line splits at its first colon; one space after it is dropped.
    """
    block = text(raw)
    if isinstance(block, str):
        return _split_text(block)
    headers = _split_text(raw.decode("latin-1"))  # a character for each byte
    return {
        _recoded(name): list(map(_recoded, value)) if isinstance(value, list) else _recoded(value)
        for name, value in headers.items()
    }


def _recoded(latin: Any) -> Text:
    return text(latin.encode("latin-1"))


def _split_text(block: str) -> Headers:
    """A Command's answer can have 200,000 lines of Output;
    consecutive ones are split in one step."""
    block = block.removesuffix("\r")
    head, *lines = block.split("\r\nOutput: ")
    output: list[Text] = [*lines]
    if output and block.count("\n") == head.count("\n") + len(output):
        headers = _split_lines(head)
        if "Output" not in headers:
            headers["Output"] = output if len(output) > 1 else output[0]
            return headers
    return _split_lines(block)


def _split_lines(block: str) -> Headers:
    headers: Headers = {}
    for line in block.replace("\r\n", "\n").split("\n"):
        name, separator, value = line.partition(": ")
        if not separator or ":" in name:
            name, colon, value = line.partition(":")
            if not colon:
                name, value = "", name
        if name not in headers:
            headers[name] = value
        elif isinstance(known := headers[name], list):
            known.append(value)
        else:
            headers[name] = [known, value]
    return headers


def is_old_command(raw: bytes) -> bool:
    """Whether a packet that begins with `raw` is a Command's answer
    in the format before Asterisk 14."""
    return raw[: len(FOLLOWS)].lower() == FOLLOWS


def _old_output(raw: bytes) -> list[Text]:
    """The lines between the headers and the end marker, which may directly follow the last line."""
    body = raw[_old_output_start(raw) :]
    marker = body.rfind(END_COMMAND)
    body = body[:marker] if marker >= 0 else body
    return [text(line.removesuffix(b"\r")) for line in body.removesuffix(b"\n").split(b"\n")] if body else []


def _old_output_start(raw: bytes) -> int:
    """Where the text begins: Asterisk writes only these headers, each
    ended by CR LF; the text has bare LF."""
    position = raw.find(b"\n") + 1
    while raw[position : position + 11].lower() == b"privilege: " or raw[position : position + 10].lower() == b"actionid: ":
        end = raw.find(b"\n", position)
        if end < 0:
            return len(raw)
        position = end + 1
    return position
