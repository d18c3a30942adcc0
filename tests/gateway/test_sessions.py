"""Log-in sessions: two halves, expiry, and limits."""

from __future__ import annotations

from pathlib import Path

import pytest

from amid.gateway.sessions import MAX_PER_TOKEN, SessionFile, Sessions, digest

TOKEN = digest("0123456789abcdefghij")


def test_a_session_requires_both_halves() -> None:
    sessions = Sessions(60)
    (cookie, key), (other_cookie, other_key) = (sessions.begin("crm", TOKEN, 0.0) for _ in range(2))
    found = sessions.find(cookie, key, 1.0)
    assert found is not None and (found.name, found.token) == ("crm", TOKEN)
    for halves in ((cookie, other_key), (other_cookie, key), (cookie, ""), ("", key), ("", ""), (key, cookie), (cookie, "\udcff")):
        assert sessions.find(*halves, 1.0) is None


def test_an_unused_session_ends() -> None:
    sessions = Sessions(60)
    halves = sessions.begin("crm", TOKEN, 0.0)
    assert all(sessions.find(*halves, float(now)) for now in range(0, 300, 59)), "use keeps it"
    assert sessions.find(*halves, 295 + 60.0) is None
    sessions.begin("crm", TOKEN, 1000.0)
    assert len(sessions.open) == 1, "what has ended is not kept"


def test_a_session_ends_when_its_user_logs_out() -> None:
    sessions = Sessions(60)
    halves = sessions.begin("crm", TOKEN, 0.0)
    sessions.end(halves[0])
    assert sessions.find(*halves, 1.0) is None and not sessions.open


def test_sessions_of_a_token_are_limited_without_affecting_others() -> None:
    sessions = Sessions(1e6)
    other = sessions.begin("wallboard", TOKEN, 0.0)
    first, second = (sessions.begin("crm", TOKEN, 1.0 + number) for number in range(2))
    assert sessions.find(*first, 3.0), "used after the second one"
    for number in range(MAX_PER_TOKEN - 1):
        sessions.begin("crm", TOKEN, 10.0 + number)
    assert len(sessions.open) == MAX_PER_TOKEN + 1
    assert [bool(sessions.find(*halves, 500.0)) for halves in (other, first, second)] == [True, True, False]


def test_the_session_file_contains_only_digests(tmp_path: Path) -> None:
    file = SessionFile(tmp_path / "sessions")
    assert file.read() == {}
    sessions = Sessions(60)
    cookie, key = sessions.begin("crm", TOKEN, 0.0)
    for _ in range(2):
        file.write(sessions.open)
    assert Sessions(60, file.read()).find(cookie, key, 1.0)
    assert cookie.encode() not in (tmp_path / "sessions").read_bytes() and key.encode() not in (tmp_path / "sessions").read_bytes()
    assert (tmp_path / "sessions").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"", b"\xff", b"\x93\x01\x02\x03", b"\x81\xc4\x01a\x90"])
def test_an_invalid_session_file_is_reported(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "sessions").write_bytes(content)
    with pytest.raises(ValueError, match="sessions"):
        SessionFile(tmp_path / "sessions").read()
