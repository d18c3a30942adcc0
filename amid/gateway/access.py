"""Tokens and their rights. Pure: no HTTP and no clock.

A token is compared by its digest with every known token, so that the time taken reveals nothing
about a token.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from amid.config.tables import Token
from amid.errors import AmidError
from amid.gateway.sessions import digest
from amid.rpc.action_packet import client_params
from amid.rpc.policy import check_action, check_admin, check_history, matches, permits_name
from amid.rpc.requests import ActionParams, CallParams, CallsParams, EventsParams, Params, StateParams


@dataclass(frozen=True)
class Principal:
    """The identity that a token proves: its name in the tokens file, and its rights. table: where an
    administrator changes them."""

    name: str
    rights: Token
    table: str

    def check(self, method: str, params: Params) -> dict[str, Any]:
        """Raise `AmidError` of kind `denied` unless this principal may call `method` with `params`.

        Returns the params that the gateway must add.
        """
        if isinstance(params, CallsParams | CallParams):
            return {"masked": check_history(method, self.name, self.table, self.rights, params).masked}
        if method in ("restart", "audit"):
            check_admin(method, self.name, self.table, self.rights)
        if isinstance(params, ActionParams):
            check_action(params.action, client_params(params).fields, self.name, {self.table: self.rights})
        if method == "actions":
            check_action("ListCommands", {}, self.name, {self.table: self.rights})
        if isinstance(params, EventsParams) and not self._may_pull(params.names):
            raise AmidError("denied", f"{self.name!r} may receive some events only: list them in `names`, or use /v1/events")
        if isinstance(params, StateParams) or (isinstance(params, EventsParams) and params.kinds is not None):
            self.check_state()
        return {}

    def may_act(self, action: str) -> bool:
        """Whether this principal may send `action` with at least some fields. `check` decides about a
        call."""
        return permits_name(action, self.rights)

    @property
    def may_see_state(self) -> bool:
        """Whether this principal may receive all events, of which the state consists."""
        return self._may_pull(None)

    def check_state(self) -> None:
        """Raise `AmidError` of kind `denied` unless this principal may see the state."""
        if not self.may_see_state:
            advice = f"remove events_allow and events_deny from {self.table}"
            raise AmidError("denied", f"{self.name!r} may not receive all events, as the state requires ({advice})")

    def _may_pull(self, names: list[str] | None) -> bool:
        if not (self.rights.events_allow or self.rights.events_deny):
            return True
        return names is not None and all(map(self.may_receive, names))

    def may_receive(self, event: str) -> bool:
        """Whether this principal may receive events of this name. Names are case-folded, as in the
        daemon (`ReplayBuffer`)."""
        rights, name = self.rights, event.casefold()
        if any(matches(pattern.casefold(), name) for pattern in rights.events_deny):
            return False
        return not rights.events_allow or any(matches(pattern.casefold(), name) for pattern in rights.events_allow)


class Access:
    """The known tokens. tokens: by name, as in the tokens file, whose name is `file`."""

    def __init__(self, tokens: Mapping[str, Token], file: str) -> None:
        self._principals = [(digest(token.token), Principal(name, token, f"[{name}] of {file}")) for name, token in tokens.items()]

    def principal(self, presented: str) -> Principal | None:
        """The principal of a token; None for an unknown token."""
        presented_digest, found = digest(presented), None
        for known, principal in self._principals:
            if hmac.compare_digest(known, presented_digest):
                found = principal
        return found

    def named(self, name: str, token: bytes) -> Principal | None:
        """The principal of this name, if its token still has this digest."""
        return next((principal for known, principal in self._principals if principal.name == name and known == token), None)
