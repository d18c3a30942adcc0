"""The methods of both clients.

`async_methods` is generated from this file by `python -m tests.client.generate`; a test compares
the two.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from amid.client import protocol
from amid.client.protocol import STATE_TIMEOUT, TIMEOUT
from amid.client.results import (
    ActionResult,
    AuditPage,
    CallsPage,
    ChangesPage,
    EventsPage,
    OfferedAction,
    RecordedCall,
    Server,
    State,
    Status,
    Text,
)


class Methods(ABC):
    """The daemon's methods. Every method raises `AmidError`. Every timeout is in seconds."""

    endpoint: str | None

    @abstractmethod
    def call(self, call: protocol.Call) -> Any:
        """Send a request and return the result of its reply. Raises `AmidError`."""

    def action(
        self,
        name: Text,
        /,
        fields: Mapping[str, Any] | None = None,
        *,
        server: str | None = None,
        timeout: float = TIMEOUT,
        until: str | None = None,
        raw: bool = False,
        call_id: str | None = None,
        **headers: Any,
    ) -> ActionResult:
        """Send an action to Asterisk and return its complete answer.

        Args:
            name: name of the action, such as `QueueStatus`.
            fields: headers as a map, for names that are not Python identifiers.
            headers: headers as keyword arguments, such as `Queue="support"`. A value is text,
                bytes, a number or a boolean, or a list of these for a repeated header.
            server: name of the server; optional when the daemon has one server.
            timeout: seconds until the call fails with `CallTimeout`, at most 3600.
            until: name of a later event of this action to wait for, such as `OriginateResponse`.
            raw: return the packets of the answer as bytes in `packets`.
            call_id: text of at most 64 bytes that identifies the call for `cancel`.

        Raises:
            ActionFailed: Asterisk answered `Response: Error`.
            CallTimeout: no complete answer within `timeout`.
            AmidError: any other kind, such as `denied`, `busy` or `connection_lost`.
        """
        result: ActionResult = self.call(protocol.action(name, fields, headers, server, timeout, until, raw, call_id))
        return result

    def command(self, text: Text, server: str | None = None, timeout: float = TIMEOUT) -> list[Text]:
        """Run an Asterisk CLI command, such as `core show channels`, and return its output lines.

        Raises `ActionFailed` when Asterisk does not know the command.
        """
        result: ActionResult = self.call(protocol.command(text, server, timeout))
        return result["output"]

    def servers(self, timeout: float = TIMEOUT) -> list[Server]:
        """The state, Asterisk version, epoch, endpoints, lanes and queue length of each server."""
        listed: list[Server] = self.call(protocol.servers(timeout))
        return protocol.with_reachable_endpoints(listed, self.endpoint)

    def status(self, timeout: float = TIMEOUT) -> Status:
        """The daemon's version and uptime, its servers, processes, callers and counters."""
        result: Status = self.call(protocol.status(timeout))
        return result

    def actions(self, server: str | None = None, timeout: float = TIMEOUT) -> list[OfferedAction]:
        """The actions that an Asterisk offers to amid's manager user."""
        result: list[OfferedAction] = self.call(protocol.actions(server, timeout))
        return result

    def pull(
        self,
        server: str,
        after: Mapping[str, int] | None = None,
        names: list[str] | None = None,
        limit: int | None = None,
        timeout: float = 25.0,
    ) -> EventsPage:
        """Return the next page of events; `events` does this continuously.

        The call returns as soon as an event is available, or with an empty page after `timeout`
        seconds.

        Args:
            server: name of the server.
            after: cursor (`epoch` and `seq`) of the previous page. None: start at the latest event.
            names: names of the events, compared without case. None: all events.
            limit: maximum number of events in the page. None: the daemon's default.
            timeout: seconds to wait for an event.

        Returns:
            `events` and the new cursor. `missed` is the number of events that the daemon no longer
                holds, or None when the event session of the cursor has ended.
        """
        page: EventsPage = self.call(protocol.events(server, after, names or [], limit, timeout))
        return page

    def state(
        self,
        server: str | None = None,
        kinds: list[str] | None = None,
        where: Mapping[str, Any] | list[str] | str | None = None,
        timeout: float = STATE_TIMEOUT,
    ) -> State:
        """The live state of a PBX, exactly as of event `seq`: lists of maps, by kind.

        kinds: for example ["channels", "queues"]. A queue contains its members and callers, and a
        conference its participants; these have lists of their own only if `kinds` names them.
        where: conditions on members, such as "state=Up" or {"queue": "sales"}.
        """
        result: State = self.call(protocol.state(server, kinds, where, timeout))
        return result

    def pull_changes(
        self,
        server: str | None = None,
        after: Mapping[str, int] | None = None,
        kinds: list[str] | None = None,
        limit: int | None = None,
        timeout: float = 25.0,
    ) -> ChangesPage:
        """One page of changes of state after the cursor `after`, as soon as there is one; an empty
        page after `timeout` seconds. `changes` iterates over all changes.

        after: `epoch`, `seq` and `rev` of a `state` or of the last page; None: from now on.
        """
        page: ChangesPage = self.call(protocol.changes(server, after, kinds, limit, timeout))
        return page

    def calls(
        self,
        server: str | None = None,
        *,
        since: float | None = None,
        until: float | None = None,
        number: str | None = None,
        name: str | None = None,
        queue: str | None = None,
        agent: str | None = None,
        ended_by: str | None = None,
        outcome: str | None = None,
        lost: bool | None = None,
        longer: float | None = None,
        shorter: float | None = None,
        limit: int | None = None,
        masked: bool | None = None,
        timeout: float = TIMEOUT,
    ) -> CallsPage:
        """Recorded calls, the newest first. Requires `history`.

        since, until: when they began, in seconds since 1970. number: a number in the call; six or
        more digits match the end of a number, fewer only a whole number. name: a part of one.
        queue, agent: whole names. longer, shorter: duration in seconds. lost: nobody spoke to the
        caller. limit: 50 by default, at most 1,000. If `more` is true, request the rest with
        `until` = `began` of the last call, which is repeated.
        """
        asked = {"server": server, "since": since, "until": until, "number": number, "name": name, "queue": queue, "agent": agent}
        asked |= {"ended_by": ended_by, "outcome": outcome, "lost": lost, "longer": longer, "shorter": shorter, "limit": limit}
        page: CallsPage = self.call(protocol.calls({**asked, "masked": masked}, timeout))
        return page

    def recorded_call(
        self,
        linkedid: str | None = None,
        server: str | None = None,
        *,
        number: str | None = None,
        at: float | None = None,
        all: bool | None = None,
        masked: bool | None = None,
        timeout: float = TIMEOUT,
    ) -> RecordedCall:
        """What happened to a call: `call`, None if there is no such call, and `ladder`; with `all`
        its `events` as well. Requires `history`.

        linkedid: names the call. Instead, number: its last call, or the one in progress `at` a time in
        seconds since 1970. If none was, it is the nearest one within 12 hours, as `began` and `ended` show.
        """
        asked = {"linkedid": linkedid, "server": server, "number": number, "at": at, "all": all, "masked": masked}
        found: RecordedCall = self.call(protocol.recorded_call(asked, timeout))
        return found

    def restart(self, server: str, timeout: float = TIMEOUT) -> dict[str, str]:
        """Replace the reader process of a server. Requires `admin`.

        Its event session ends: programs see a gap and a new epoch.
        """
        result: dict[str, str] = self.call(protocol.restart(server, timeout))
        return result

    def audit(self, after: int = 0, limit: int = 1000, timeout: float = TIMEOUT) -> AuditPage:
        """Return a page of the audit trail. Requires `admin`.

        Args:
            after: number (`seq`) of the last record already seen; 0 for the oldest.
            limit: maximum number of records.

        Returns:
            `records`, the oldest first; `seq`, the number of the newest that exists; `left_out`, the
                number of records dropped under load.
        """
        result: AuditPage = self.call(protocol.audit(after, limit, timeout))
        return result

    def ping(self, timeout: float = TIMEOUT) -> dict[str, Any]:
        """Check that the daemon answers. Asterisk is not involved."""
        result: dict[str, Any] = self.call(protocol.ping(timeout))
        return result
