"""An event as it is recorded: the bytes that were published, and what the fold reads of them.

Most events matter only for the call that they belong to, so a page of events is decoded in one step
into `Event`, with few headers of each. The others are decoded from the bytes of those events that
need them. Values are text, bytes that are not UTF-8, or lists of them for repeated
headers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


class Headers(msgspec.Struct, gc=False):
    """The headers that are decoded of each event: those that name its channel and its calls, and
    those that show whether it can change a call."""

    ChannelStateDesc: Any = None
    Uniqueid: Any = None
    Linkedid: Any = None
    DestLinkedid: Any = None
    Application: Any = None


class Moment(msgspec.Struct, gc=False):
    """The number of an event, and when it was read, in seconds since 1970."""

    epoch: int
    seq: int
    time: float

    @property
    def number(self) -> tuple[int, int]:
        """Later events have greater ones."""
        return self.epoch, self.seq


class Event(Moment, gc=False):
    """event: the name. fields: what is decoded of the headers."""

    event: str
    fields: Headers


class ChannelHeaders(msgspec.Struct, gc=False):
    Channel: Any = None
    CallerIDNum: Any = None
    CallerIDName: Any = None
    Exten: Any = None


class DialHeaders(msgspec.Struct, gc=False):
    DestChannel: Any = None
    DestCallerIDNum: Any = None
    DestCallerIDName: Any = None
    DestUniqueid: Any = None
    DestLinkedid: Any = None
    DialStatus: Any = None
    Forward: Any = None


class BridgeHeaders(msgspec.Struct, gc=False):
    BridgeUniqueid: Any = None
    BridgeTechnology: Any = None
    BridgeCreator: Any = None


class HangupHeaders(msgspec.Struct, rename={"cause_text": "Cause-txt"}, gc=False):
    Cause: Any = None
    cause_text: Any = None


class _Links(msgspec.Struct, gc=False):
    """The headers that name calls, in all events that have several channels."""

    Linkedid: Any = None
    DestLinkedid: Any = None
    LocalOneLinkedid: Any = None
    TransfererLinkedid: Any = None
    OrigTransfererLinkedid: Any = None
    SecondTransfererLinkedid: Any = None
    ParkeeLinkedid: Any = None
    RetrieverLinkedid: Any = None
    TargetLinkedid: Any = None
    SpyeeLinkedid: Any = None


OTHER_PREFIXES = frozenset(
    {
        *("LocalBridge", "LocalOptimizationBegin", "LocalOptimizationEnd", "BlindTransfer", "AttendedTransfer", "Pickup"),
        *("ParkedCall", "UnParkedCall", "ParkedCallGiveUp", "ParkedCallTimeOut", "ParkedCallSwap", "ChanSpyStart", "ChanSpyStop"),
    }
)
"""Events with channels under other prefixes than none and `Dest`."""

Packed = bytes | msgspec.Raw
"""One event, as it was published."""


_EVENTS = msgspec.msgpack.Decoder(list[Event])
_ARRAY = msgspec.msgpack.Decoder(list[msgspec.Raw])


def _decoder(kind: type[T]) -> Callable[[Packed], T]:
    """A function that decodes an event as this type. Raises `msgspec.DecodeError`."""
    decode_known = msgspec.msgpack.Decoder(kind).decode

    def decode_event(packed: Packed) -> T:
        try:
            return decode_known(packed)
        except msgspec.ValidationError:
            return decode_known(_with_utf8_names(packed))

    return decode_event


def _with_utf8_names(packed: Packed) -> bytes:
    """An event without the headers whose names are bytes, because a struct takes only text. Any
    program may send a UserEvent with such a header."""
    event = msgspec.msgpack.decode(packed, type=dict[Any, Any])
    fields = event.get("fields")
    if isinstance(fields, dict):
        event["fields"] = {name: value for name, value in fields.items() if isinstance(name, str)}
    return msgspec.msgpack.encode(event)


decode = _decoder(Event)
"""One event. Raises `msgspec.DecodeError`."""


def split(array: Packed) -> list[msgspec.Raw]:
    """The packed events of an array. Raises `ValueError`."""
    return _ARRAY.decode(array)


def decode_array(array: Packed) -> list[Event]:
    """The events of a packed array. Raises `msgspec.DecodeError`."""
    try:
        return _EVENTS.decode(array)
    except msgspec.ValidationError:
        return [decode(packed) for packed in split(array)]


def _decoder_of(kind: type[T]) -> Callable[[Packed], T]:
    """A function that decodes the headers of an event as this type."""
    decode_fields = _decoder(msgspec.defstruct("WithFields", [("fields", kind)]))
    return lambda packed: decode_fields(packed).fields  # type: ignore[attr-defined]


all_headers = _decoder_of(dict[Any, Any])
channel_headers = _decoder_of(ChannelHeaders)
dial_headers = _decoder_of(DialHeaders)
bridge_headers = _decoder_of(BridgeHeaders)
hangup_headers = _decoder_of(HangupHeaders)
_links = _decoder_of(_Links)


def linkedids_of(event: Event, packed: Packed) -> Sequence[str]:
    """The Linkedids of the calls that an event belongs to, each once."""
    fields = event.fields
    linkedid, other = fields.Linkedid, fields.DestLinkedid
    if event.event in OTHER_PREFIXES:
        return _distinct(msgspec.structs.astuple(_links(packed)))
    if type(linkedid) is str and linkedid and (other is None or other == linkedid):
        return (linkedid,)
    return _distinct((linkedid, other)) if linkedid is not None or other is not None else ()


def _distinct(linkedids: Sequence[Any]) -> list[str]:
    return list(dict.fromkeys(one for one in linkedids if isinstance(one, str) and one))


def text(value: Any) -> str:
    """The value of a header as text: the first of several, bytes that are not UTF-8 as lone
    surrogates, "" for no header."""
    if type(value) is str:
        return value
    if isinstance(value, list):
        value = value[0] if value else ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return value if isinstance(value, str) else ""


def known(value: Any) -> str:
    """The same, with "" for `<unknown>`, which Asterisk writes for an empty value."""
    found = text(value)
    return "" if found == "<unknown>" else found
