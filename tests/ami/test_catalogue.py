"""Actions that may share a lane, recognised by name and fields as Asterisk reads them."""

from __future__ import annotations

from typing import Any

import pytest

from amid.ami import catalogue
from amid.ami.catalogue import QUICK, is_quick

ASYNC = {"Channel": "Local/a@b", "Async": "true"}
CASES: list[tuple[str, dict[Any, Any], bool]] = [
    ("Ping", {}, True),
    ("pInG", {}, True),
    ("P\u0131ng", {}, False),
    ("\u212aing", {}, False),
    ("Command", {"Command": "core show version"}, False),
    ("NoSuchAction", {}, False),
    ("CoreShowChannels", {}, False),
    ("UserEvent", {"UserEvent": "X", "Variable": "f(x)"}, True),
    ("Originate", ASYNC, True),
    ("ORIGINATE", {"aSYNC": "Yes"}, True),
    ("Originate", {"Async": True}, True),
    ("Originate", {"Async": 1}, True),
    ("Originate", {b"Async": b" on"}, True),
    ("Originate", {"Async": "true "}, False),
    ("Originate", {"Async": "false"}, False),
    ("Originate", {"Async": ""}, False),
    ("Originate", {"Channel": "Local/a@b"}, False),
    ("Originate", {"Async": ["false", "true"]}, False),
    ("Originate", {"Async": "true", "async": "false"}, False),
    ("Getvar", {"Variable": "X"}, True),
    ("Getvar", {"Variable": "CHANNEL(state)"}, False),
    ("Getvar", {"variable": b"SHELL(sleep 9)"}, False),
    ("Getvar", {"Variable": ["X", "SHELL(sleep 9)"]}, False),
    ("Setvar", {"Variable": "X", "Value": "SHELL(x)"}, True),
    ("Setvar", {"Variable": "DB(a/b)", "Value": "1"}, False),
    ("Status", {}, False),
    ("Status", {"Channel": "PJSIP/a-1"}, True),
    ("Status", {"Channel": "PJSIP/a-1", "Variables": "X,Y"}, True),
    ("Status", {"Channel": "PJSIP/a-1", "Variables": "X,SHELL(sleep 9)"}, False),
    ("Hangup", {"Channel": "PJSIP/a-1"}, True),
    ("Hangup", {"Channel": "/^PJSIP/"}, False),
    ("Hangup", {"Channel": " /^PJSIP/"}, False),
    ("QueueStatus", {"Queue": "support"}, True),
    ("QueueStatus", {}, False),
    ("QueueStatus", {"Queue": ""}, False),
]


@pytest.mark.parametrize(("action", "fields", "quick"), CASES)
def test_quick_actions_are_recognised(action: str, fields: dict[Any, Any], quick: bool) -> None:
    assert is_quick(action, fields) == quick


def test_a_quick_action_answers_with_its_action_id_and_leaves_the_session_as_it_is() -> None:
    alone = (
        catalogue.CHANGES_SESSION | catalogue.ITEMS_WITHOUT_ACTION_ID | catalogue.MAYBE_NO_RESPONSE
        | catalogue.SEVERAL_RESPONSES | catalogue.SINGLE_EVENT.keys()
    )  # fmt: skip
    assert not QUICK.keys() & alone
