"""Actions on the PBX: settings, database, configuration files, devices and modules."""

from __future__ import annotations

from datetime import UTC, datetime

from amid.simulator.actions.answer import Answer, action
from amid.simulator.wire import Header

FILES: dict[str, dict[str, list[tuple[str, str]]]] = {
    "queues.conf": {
        "general": [],
        "support": [("strategy", "ringall"), ("timeout", "15"), ("member", "PJSIP/alice,0,Alice Martin")],
        "sales": [("strategy", "ringall")],
    },
    "rtp.conf": {"general": [("rtpstart", "10000"), ("rtpend", "20000")]},
}
HINTS = {("default", "6001"): "PJSIP/alice", ("default", "6002"): "PJSIP/bob"}
MODULES = ("app_queue", "app_confbridge", "app_dial", "chan_pjsip", "res_parking")


@action("CoreSettings", "system,reporting", "Show PBX core settings (version etc).")
def core_settings(answer: Answer) -> None:
    release = answer.session.release
    answer.success(
        headers=[
            ("AMIversion", release.ami),
            ("AsteriskVersion", release.asterisk),
            ("SystemName", ""),
            ("CoreMaxCalls", "0"),
            ("CoreMaxLoadAvg", "0.000000"),
            ("CoreRunUser", ""),
            ("CoreRunGroup", ""),
            ("CoreMaxFilehandles", "0"),
            ("CoreRealTimeEnabled", "No"),
            ("CoreCDRenabled", "Yes"),
            ("CoreHTTPenabled", "No"),
            *([("SoundsSearchCustomDir", "No")] if release.version >= 22 else []),
        ]
    )


@action("CoreStatus", "system,reporting", "Show PBX core status variables.")
def core_status(answer: Answer) -> None:
    began = datetime.fromtimestamp(answer.pbx.started, UTC)
    answer.success(
        headers=[
            ("CoreStartupDate", f"{began:%Y-%m-%d}"),
            ("CoreStartupTime", f"{began:%H:%M:%S}"),
            ("CoreReloadDate", f"{began:%Y-%m-%d}"),
            ("CoreReloadTime", f"{began:%H:%M:%S}"),
            ("CoreCurrentCalls", str(len(answer.pbx.channels))),
            ("CoreProcessedCalls", str(answer.pbx.calls_processed)),
        ]
    )


def _path(answer: Answer, *, dot: str = ".") -> str | None:
    """/family/key of the request; None when one is missing, after answering with the error."""
    family, key = answer.get("Family"), answer.get("Key")
    if not family or not key:
        answer.error(f"No {'key' if family else 'family'} specified{dot}")
        return None
    return f"/{family}/{key}"


@action("DBGet", "system,reporting", "Get DB Entry.")
def db_get(answer: Answer) -> None:
    path = _path(answer)
    if path is None:
        return
    if path not in answer.pbx.database:
        return answer.error("Database entry not found")
    answer.listing(
        "Result will follow",
        "DBGetComplete",
        [
            (
                "DBGetResponse",
                [
                    ("Family", answer.get("Family")),
                    ("Key", answer.get("Key")),
                    ("Val", answer.pbx.database[path]),
                ],
            )
        ],
        last=True,
    )


@action("DBPut", "system", "Put DB entry.")
def db_put(answer: Answer) -> None:
    path = _path(answer, dot="")
    if path is not None:
        answer.pbx.database[path] = answer.get("Val")
        answer.success("Updated database successfully")


@action("DBDel", "system", "Delete DB entry.")
def db_del(answer: Answer) -> None:
    path = _path(answer)
    if path is None:
        return
    if answer.pbx.database.pop(path, None) is None:
        return answer.error("Database entry could not be deleted")
    answer.success("Key deleted successfully")


def under(database: dict[str, str], *parts: str) -> list[tuple[str, str]]:
    """The database entries below a family and key, in order; all entries without one."""
    prefix = "".join(f"/{part}" for part in parts if part)
    return sorted((key, value) for key, value in database.items() if key == prefix or key.startswith(f"{prefix}/"))


@action("DBGetTree", "system,reporting", "Get DB entries, optionally at a particular family/key")
def db_get_tree(answer: Answer) -> None:
    answer.listing(
        "Result will follow",
        "DBGetTreeComplete",
        [
            ("DBGetTreeResponse", [("Key", key), ("Val", value)])
            for key, value in under(answer.pbx.database, answer.get("Family"), answer.get("Key"))
        ],
        last=True,
    )


@action("DBDelTree", "system", "Delete DB Tree.")
def db_del_tree(answer: Answer) -> None:
    if not answer.get("Family"):
        return answer.error("No family specified.")
    gone = under(answer.pbx.database, answer.get("Family"), answer.get("Key"))
    if not gone:
        return answer.error("Database entry not found")
    for key, _ in gone:
        del answer.pbx.database[key]
    answer.success("Key tree deleted successfully")


def _file(answer: Answer) -> dict[str, list[tuple[str, str]]] | None:
    name = answer.get("Filename")
    if name not in FILES:
        answer.error("Config file not found" if name else "Filename not specified")
    return FILES.get(name)


@action("GetConfig", "system,config", "Retrieve configuration.")
def get_config(answer: Answer) -> None:
    """One packet. A category that does not exist gives a line that is not a header."""
    contents = _file(answer)
    if contents is None:
        return
    headers: list[Header] = []
    wanted = answer.get("Category")
    chosen = [(name, lines) for name, lines in contents.items() if not wanted or name == wanted]
    for number, (name, lines) in enumerate(chosen):
        headers.append((f"Category-{number:06d}", name))
        headers += [(f"Line-{number:06d}-{line:06d}", f"{key}={value}") for line, (key, value) in enumerate(lines)]
    if headers:
        return answer.success(headers=headers)
    answer.success()
    del answer.session.outgoing[-2:]
    answer.session.write(b"No categories found\r\n\r\n")


@action("ListCategories", "config", "List categories in configuration file.")
def list_categories(answer: Answer) -> None:
    contents = _file(answer)
    if contents is not None:
        answer.success(headers=[(f"Category-{n:06d}", name) for n, name in enumerate(contents)])


@action("PJSIPShowEndpoints", "system", "Lists PJSIP endpoints.")
def pjsip_show_endpoints(answer: Answer) -> None:
    if not answer.pbx.phones:
        return answer.error("No endpoints found\n")
    answer.listing(
        "A listing of Endpoints follows, presented as EndpointList events",
        "EndpointListComplete",
        [
            (
                "EndpointList",
                [
                    ("ObjectType", "endpoint"),
                    ("ObjectName", phone),
                    ("Transport", ""),
                    ("Aor", phone),
                    ("Auths", ""),
                    ("OutboundAuths", ""),
                    ("Contacts", f"{phone}/sip:{phone}@127.0.0.1,"),
                    ("DeviceState", _device_state(answer, f"PJSIP/{phone}")),
                    (
                        "ActiveChannels",
                        str(sum(c.device == f"PJSIP/{phone}" for c in answer.pbx.channels.values())),
                    ),
                ],
            )
            for phone in answer.pbx.phones
        ],
    )


def _device_state(answer: Answer, device: str) -> str:
    return {"INUSE": "In use", "RINGING": "Ringing"}.get(answer.pbx.devices.get(device, ""), "Not in use")


@action("DeviceStateList", "call,reporting", "List the current known device states.")
def device_state_list(answer: Answer) -> None:
    answer.listing(
        "Device State Changes will follow",
        "DeviceStateListComplete",
        [("DeviceStateChange", [("Device", device), ("State", state)]) for device, state in answer.pbx.devices.items()],
    )


@action("ExtensionState", "call,reporting", "Check Extension Status.")
def extension_state(answer: Answer) -> None:
    exten, context = answer.get("Exten"), answer.get("Context") or "default"
    if not exten:
        return answer.error("Extension not specified")
    hint = HINTS.get((context, exten), "")
    state = answer.pbx.devices.get(hint, "NOT_INUSE") if hint else "UNKNOWN"
    status, text = {"INUSE": ("1", "InUse"), "RINGING": ("8", "Ringing"), "NOT_INUSE": ("0", "Idle")}.get(state, ("-1", "Unknown"))
    answer.success(
        headers=[
            ("Message", "Extension Status"),
            ("Exten", exten),
            ("Context", context),
            ("Hint", hint),
            ("Status", status),
            ("StatusText", text),
        ]
    )


@action("VoicemailUsersList", "call,reporting", "List All Voicemail User Information.")
def voicemail_users_list(answer: Answer) -> None:
    answer.success("There are no voicemail users currently defined.")


@action("FAXStats", "reporting", "Responds with fax statistics")
def fax_stats(answer: Answer) -> None:
    """Answer with one event that nothing marks as the last."""
    answer.success("FAXStats event will follow")
    answer.session.send(
        [
            ("Event", "FAXStats"),
            *answer.identity,
            *(
                (name, "0")
                for name in (
                    "CurrentSessions",
                    "ReservedSessions",
                    "TransmitAttempts",
                    "ReceiveAttempts",
                    "CompletedFAXes",
                    "FailedFAXes",
                )
            ),
        ]
    )


@action("FAXSessions", "call", "Lists active FAX sessions")
def fax_sessions(answer: Answer) -> None:
    answer.listing(
        "FAXSessionsEntry event list will follow",
        "FAXSessionsComplete",
        [],
        extra=[("Total", "0")],
        marker="Start",
    )


@action("ModuleCheck", "system", "Check if module is loaded.")
def module_check(answer: Answer) -> None:
    if answer.get("Module").removesuffix(".so") not in MODULES:
        return answer.error("Module not loaded")
    answer.success(headers=[("Version", "")])


@action("Reload", "system,config", "Send a reload event.")
def reload(answer: Answer) -> None:
    module = answer.get("Module")
    if module and module.removesuffix(".so") not in MODULES:
        return answer.error("No such module")
    answer.success("Module Reloaded")
    answer.pbx.emit("Reload", "system", [("Module", module or "All"), ("Status", "0")])
