"""The selection of things by kind and condition."""

from __future__ import annotations

import pytest

from amid.state.model import Model
from amid.state.query import parse_conditions, parse_kinds, select


@pytest.fixture
def model() -> Model:
    model = Model()
    model.put("queue", "sales", {"name": "sales", "waiting": 2})
    for position, uniqueid in ((2, "1"), (1, "2")):
        model.put("caller", f"sales/{uniqueid}", {"queue": "sales", "uniqueid": uniqueid, "position": position})
    model.put("channel", "1", {"uniqueid": "1", "name": "PJSIP/1", "held": False, "state": "Up"})
    model.put("channel", "2", {"uniqueid": "2", "name": b"Local/\xff", "held": True, "state": "Ring"})
    return model


def test_kinds_in_the_singular_and_in_the_plural() -> None:
    assert parse_kinds(["channels", "call"]) == {"channel", "call"} and len(parse_kinds(None)) == 13


def test_queues_contain_their_members_and_callers(model: Model) -> None:
    found = select(model, None, [])
    assert "callers" not in found
    (queue,) = found["queues"]
    assert [one["uniqueid"] for one in queue["callers"]] == ["2", "1"] and queue["members"] == []
    assert [one["id"] for one in select(model, ["callers"], [])["callers"]] == ["sales/1", "sales/2"]
    assert set(select(model, ["callers"], [])) == {"callers"}


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("state=Up", ["1"]),
        (["state~R", "held=true"], ["2"]),
        ({"held": False}, ["1"]),
        ({"uniqueid": 2}, ["2"]),
        ("name~Local", ["2"]),
        ("Linkedid=x", []),
        ("id=2", ["2"]),
        ([], ["1", "2"]),
    ],
)
def test_conditions(model: Model, where: object, found: list[str]) -> None:
    conditions = parse_conditions(where, ["channels"])  # type: ignore[arg-type]
    assert [one["id"] for one in select(model, ["channels"], conditions)["channels"]] == found
    assert "queue" not in model.kinds["queue"]["sales"], "the model is unchanged"


def test_an_invalid_condition() -> None:
    with pytest.raises(ValueError, match="not a condition"):
        parse_conditions("state", None)


@pytest.mark.parametrize("where", ["exten=1", ["state=Up", "exten~1"], {"Exten": 1}])
def test_a_member_that_none_of_the_kinds_has_is_refused(where: object) -> None:
    with pytest.raises(ValueError, match=r"^there is no member 'exten': a queue has id, name, .*; a device has id, device, state$"):
        parse_conditions(where, ["devices", "queue"])  # type: ignore[arg-type]


def test_a_member_that_one_of_the_kinds_has_selects_nothing_of_the_others(model: Model) -> None:
    conditions = parse_conditions("held=true", None)
    found = select(model, None, conditions)
    assert [one["id"] for one in found["channels"]] == ["2"] and found["queues"] == []


def test_the_members_of_a_nested_kind_are_known_if_it_is_requested() -> None:
    assert parse_conditions("interface=PJSIP/1", ["members"])
    with pytest.raises(ValueError, match="there is no member 'interface'"):
        parse_conditions("interface=PJSIP/1", None)


@pytest.mark.parametrize("where", [["state~"] * 17, {str(number): 1 for number in range(17)}], ids=["list", "map"])
def test_the_conditions_of_a_request_are_limited(where: list[str] | dict[str, int]) -> None:
    """A request with 1,000 conditions stopped the process state for longer than its beat may be late."""
    with pytest.raises(ValueError, match="at most 16 conditions, not 17"):
        parse_conditions(where, ["channels"])
    assert len(parse_conditions(["state~"] * 16, ["channels"])) == 16
