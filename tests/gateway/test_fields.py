"""The fields of an action in a body: curl's input reaches Asterisk as intended or is refused."""

from __future__ import annotations

import json
import subprocess
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amid.errors import AmidError
from amid.gateway.fields import FORM, MAX_FIELDS, decode_fields, decode_pairs
from tests.gateway.conftest import TOKENS, Gateway
from tests.need import need_programs


@pytest.mark.parametrize(
    ("form", "fields"),
    [
        (b"Exten=%2B15551234567", {"Exten": "+15551234567"}),
        (b"Data=hello+world&Empty=", {"Data": "hello world", "Empty": ""}),
        (b"Variable=A%3D1&Variable=B%3D2", {"Variable": ["A=1", "B=2"]}),
        (b"Data=Gr%FC&Name=Gr\xc3\xbc\xc3\x9f", {"Data": "Gr\udcfc", "Name": "Grüß"}),
        (b"Channel=PJSIP/100@trunk&Exten=%20x", {"Channel": "PJSIP/100@trunk", "Exten": " x"}),
        (b"", {}),
    ],
)
def test_a_form_is_decoded(form: bytes, fields: dict[str, Any]) -> None:
    assert decode_fields(form, f"{FORM}; charset=utf-8") == fields


@pytest.mark.parametrize("value", ["+15551234567", "PJSIP/+1555@trunk", '"Bob" <+1555>', "NUMBER=+1555", "+", "a b+1"])
def test_an_unencoded_plus_sign_is_refused_with_a_hint(value: str) -> None:
    with pytest.raises(AmidError) as refused:
        decode_fields(f"Exten={value}".encode(), FORM)
    assert refused.value.kind == "invalid_params"
    assert "--data-urlencode 'Exten=…'" in refused.value.message and "%2B" in refused.value.message


@given(st.dictionaries(st.text(min_size=1), st.text().filter(lambda value: not value.startswith(" ")), max_size=5))
def test_encoded_values_are_decoded(fields: dict[str, str]) -> None:
    assert dict(decode_pairs(urlencode(fields))) == fields


@pytest.mark.parametrize("kind", ["", FORM, "text/plain", "application/json"])
def test_a_json_object_is_recognised(kind: str) -> None:
    assert decode_fields(b' {"Exten": "+15551234567"}', kind) == {"Exten": "+15551234567"}


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        (b'{"Exten": }', FORM, "the request is not JSON: Expecting value"),
        (b"Exten=1", "", FORM),
        (b"[1]", "application/json", "JSON object"),
        (b"&".join([b"a=1"] * (MAX_FIELDS + 1)), FORM, "200 fields"),
    ],
)
def test_an_invalid_body_is_refused_with_a_hint(body: bytes, kind: str, said: str) -> None:
    with pytest.raises(AmidError) as refused:
        decode_fields(body, kind)
    assert said in refused.value.message


def curl(gateway: Gateway, *arguments: str) -> tuple[str, Any]:
    """The HTTP status and the answer."""
    need_programs("curl", of="LANGUAGES")
    url = f"{gateway.url}/v1/servers/pbx1/actions/UserEvent"
    argv = ["curl", "-sS", "-w", "\n%{http_code}", "-H", f"Authorization: Bearer {TOKENS['operator']}", url, *arguments]
    out = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True, timeout=60).stdout
    body, _, status = out.rpartition("\n")
    return status, json.loads(body)


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["-d", "UserEvent=Curl", "-d", "Exten=+15551234567"], "400"),
        (["-d", "UserEvent=Curl", "--data-urlencode", "Exten=+15551234567"], "200"),
        (["-d", '{"UserEvent": "Curl", "Exten": "+15551234567"}'], "200"),
        (["--json", '{"UserEvent": "Curl", "Exten": "+15551234567"}'], "200"),
    ],
    ids=["not-encoded", "encoded", "json", "json-with-its-type"],
)
def test_a_plus_sign_from_curl_is_kept_or_refused(gateway: Gateway, arguments: list[str], status: str) -> None:
    with gateway.http as http, http.stream("GET", "/v1/events?server=pbx1&event=UserEvent&where=UserEvent~Curl") as stream:
        lines = stream.iter_lines()
        assert next(lines).startswith("retry")
        got, answer = curl(gateway, *arguments)
        assert got == status, answer
        with gateway.http as other:
            other.post("/v1/servers/pbx1/actions/UserEvent", json={"UserEvent": "CurlEnd"})
        events = (json.loads(line[6:])["fields"] for line in lines if line.startswith("data: "))
        passed = next(events)
    assert passed["UserEvent"] == "CurlEnd" if status == "400" else passed["Exten"] == "+15551234567"
