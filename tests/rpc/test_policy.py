"""`allow` and `deny`: what passes, what is refused, and what the refusal says."""

from __future__ import annotations

import pytest

from amid.config import Caller
from amid.errors import AmidError
from amid.rpc.policy import check_action, check_admin

LISTS = {
    "no lists": ((), (), "Ping", True),
    "allowed": (("Ping",), (), "Ping", True),
    "not among the allowed": (("Ping",), (), "Originate", False),
    "denied": ((), ("Originate",), "Originate", False),
    "not among the denied": ((), ("Originate",), "Ping", True),
    "deny wins": (("Originate",), ("Originate",), "Originate", False),
    "in another case": ((), ("originate",), "ORIGINATE", False),
    "allowed in another case": (("ORIGINATE",), (), "originate", True),
    "a pattern": ((), ("DB*",), "DBDelTree", False),
    "not of the pattern": ((), ("DB*",), "Dial", True),
    "everything denied": ((), ("*",), "Ping", False),
    "all but some": (("*",), ("Command",), "Ping", True),
    "spaces around it, which Asterisk takes away": ((), ("Originate",), " Originate\t", False),
    "a name with a pattern's signs is no pattern": (("Ping",), (), "P*", False),
}


def allowed(action: str, **lists: Caller) -> bool:
    try:
        check_action(action, "local", lists)
    except AmidError as failure:
        assert (failure.kind, failure.sent) == ("denied", False)
        return False
    return True


@pytest.mark.parametrize(("allow", "deny", "action", "passes"), LISTS.values(), ids=LISTS)
def test_lists(allow: tuple[str, ...], deny: tuple[str, ...], action: str, passes: bool) -> None:
    assert allowed(action, **{"callers.local": Caller(allow=list(allow), deny=list(deny))}) is passes


def test_every_list_must_agree() -> None:
    server, caller = Caller(deny=["Originate"]), Caller(allow=["Originate", "Ping"])
    assert allowed("Ping", server=server, caller=caller)
    assert not allowed("Originate", server=server, caller=caller)
    assert not allowed("Status", server=server, caller=caller)


def test_a_refusal_names_the_caller_the_action_and_the_table() -> None:
    with pytest.raises(AmidError) as caught:
        check_action("Originate", "web", {"servers.pbx1": Caller(), "callers.web": Caller(deny=["Orig*"])})
    assert all(word in caught.value.message for word in ("'web'", "'Originate'", "[callers.web]"))


def test_only_an_admin_may_change_amid() -> None:
    check_admin("restart", "local", Caller(admin=True))
    with pytest.raises(AmidError) as caught:
        check_admin("restart", "web", Caller())
    assert (caught.value.kind, caught.value.sent) == ("denied", False)
    assert "admin in [callers.web]" in caught.value.message
