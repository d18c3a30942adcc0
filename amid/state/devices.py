"""Devices, hints, contacts and outbound registrations. Each event has the complete new state."""

from __future__ import annotations

from amid.state.headers import Fields, number, text
from amid.state.model import Model

NOT_CACHED = ("Local/", "CBAnn/", "CBRec/")
"""Devices of channels whose state Asterisk does not cache (AST_DEVSTATE_NOT_CACHABLE), so that no list
has them. Their last event often says INUSE."""


def put_device(model: Model, fields: Fields, time: float) -> None:
    device = text(fields, "Device")
    if str(device).startswith(NOT_CACHED):
        return
    model.put("device", device, {"device": device, "state": text(fields, "State")})


def put_hint(model: Model, fields: Fields, time: float) -> None:
    exten, context = text(fields, "Exten"), text(fields, "Context")
    values = {
        "exten": exten,
        "context": context,
        "hint": text(fields, "Hint"),
        "status": number(fields, "Status"),
        "state": text(fields, "StatusText"),
    }
    model.put("hint", f"{exten}@{context}", values)


def put_contact(model: Model, fields: Fields, time: float) -> None:
    """The event ContactStatus. It has no UserAgent."""
    aor, uri = text(fields, "AOR"), text(fields, "URI")
    status = text(fields, "ContactStatus")
    if status == "Removed":
        model.remove("contact", _contact_id(aor, uri))
        return
    known = model.get("contact", _contact_id(aor, uri))
    if known is not None and status in ("Created", "Updated"):
        status = known["status"]  # neither tells whether the contact is reachable
    _put_contact(model, aor, uri, text(fields, "EndpointName"), status, fields)


def list_contact(model: Model, fields: Fields, time: float) -> None:
    """An item of PJSIPShowContacts. The name of a contact is the name of its AOR, `;@` or `@@`, and
    a hash."""
    aor = text(fields, "ObjectName").partition(";@")[0].partition("@@")[0]
    _put_contact(model, aor, text(fields, "Uri"), text(fields, "Endpoint"), text(fields, "Status"), fields)


def list_aor(model: Model, fields: Fields, time: float) -> None:
    """An item of PJSIPShowAors, whose Contacts (AOR/URI,AOR/URI) include those of the configuration.
    No other list has those, and their status comes only with events."""
    aor = text(fields, "ObjectName")
    for uri in f",{text(fields, 'Contacts')}".split(f",{aor}/")[1:]:
        if model.get("contact", _contact_id(aor, uri)) is None:
            model.configured_contacts[_contact_id(aor, uri)] = None
            _put_contact(model, aor, uri, "", "", {})


def complete_contacts(listed: Model, live: Model) -> None:
    """Take from `live` what events have shown of contacts that only PJSIPShowAors has."""
    for contact in listed.configured_contacts:
        if (known := live.get("contact", contact)) is not None:
            listed.put("contact", contact, known)


def _put_contact(model: Model, aor: str, uri: str, endpoint: str, status: str, fields: Fields) -> None:
    known = model.get("contact", _contact_id(aor, uri)) or {}
    values = {
        "aor": aor,
        "uri": uri,
        "endpoint": endpoint,
        "status": status,
        "roundtrip_us": number(fields, "RoundtripUsec"),
        "user_agent": text(fields, "UserAgent") or known.get("user_agent", ""),
    }
    model.put("contact", _contact_id(aor, uri), values)


def _contact_id(aor: str, uri: str) -> str:
    return f"{aor}/{uri}"


def put_registration(model: Model, fields: Fields, time: float) -> None:
    """The event Registry. Its Username is the client's URI, its Domain the server's URI."""
    client, server = text(fields, "Username"), text(fields, "Domain")
    values = {"status": text(fields, "Status"), "cause": text(fields, "Cause")}
    known = next(
        (name for name, one in model.kinds["registration"].items() if (one["client"], one["server"]) == (client, server)), None
    )
    if known is not None:
        model.put("registration", known, values)
    else:
        model.put("registration", client, {"name": client, "client": client, "server": server, **values})


def list_registration(model: Model, fields: Fields, time: float) -> None:
    """An item of PJSIPShowRegistrationsOutbound."""
    name = text(fields, "ObjectName")
    values = {
        "name": name,
        "client": text(fields, "ClientUri"),
        "server": text(fields, "ServerUri"),
        "status": text(fields, "Status"),
        "cause": "",
    }
    model.put("registration", name, values)
