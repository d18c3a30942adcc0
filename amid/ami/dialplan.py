"""What the dialplan's functions, variables and applications reach, and how Asterisk splits their
arguments.

A function that is not listed as harmless may reach anything: SHELL runs a program, FILE writes a
file, EVAL hides either of them. The lists were made from the documentation of Asterisk 16.28 and
22.10. Asterisk's own list of dangerous functions (`ast_custom_function_register_escalating`) is far
from complete. No regular expression is used here: callers choose the texts, and the time for a text
must grow only with its length.
"""

from __future__ import annotations

HARMLESS_FUNCTIONS = frozenset(
    """
    abs agc agent basename base64_decode base64_encode blacklist callerid callerpres cdr cdr_prop channel
    channel_exists channels checksipdomain confbridge_channels confbridge_info connectedline csv_quote db_exists db_keycount
    db_keys denoise device_state dialplan_exists digit_sum dirname exception extension_state faxopt fieldnum fieldqty global
    global_exists group group_count group_list group_match_count hangupcause hangupcause_keys hint iaxvar iconv ifmodule
    jitterbuffer keypadhash len log_group ltrim mailbox_exists math max md5 meetme_info min mixmonitor muteaudio park_get_channel
    pitch_shift pjsip_aor pjsip_contact pjsip_dial_contacts pjsip_dtmf_mode pjsip_header pjsip_header_param pjsip_headers
    pjsip_inheritable_header pjsip_media_offer pjsip_moh_passthrough pjsip_parse_uri pjsip_response_header pjsip_response_headers
    pjsip_transfer_handling polarity presence_state queue_exists queue_get_channel queue_member queue_member_count
    queue_member_list queue_member_penalty queue_variables queue_waiting_count quote rand redirecting rtrim sha1 shared
    sip_header sip_headers strftime strptime talk_detect timeout tolower toupper trim uridecode uriencode uuid valid_exten
    variable_exists version vmcount volume
    """.split()  # noqa: SIM905
)
"""Functions that, read or written, reach only the call, its channel,
and lists that actions return too."""

GUARDED_VARIABLES = frozenset(
    """
    attendedtransfer blindtransfer dynamic_features forward_context goto_on_blindxfr monitor_exec monitor_exec_args
    touch_mixmonitor touch_mixmonitor_format touch_monitor touch_monitor_format transfer_context
    """.split()  # noqa: SIM905
)
"""Variables that make Asterisk run a command, write a file, or continue at another place of the
dialplan (res_monitor.c, bridge_builtin_features.c, features.c)."""

GUARDED_APPLICATIONS = frozenset(
    """
    adsiprog agi audiosocket changemonitor dahdiras dbdeltree deadagi dictate eagi exec execif execiftime externalivr festival
    iax2provision ices importvar jabbersend jabbersendgroup jack messagesend minivmaccmess minivmgreet minivmnotify minivmrecord
    mixmonitor monitor mp3player mset nbscat originate ospauth osplookup pjsipnotify readfile receivefax record reload remotelog
    retrydial sendfax sendimage set sms statsd system testclient testserver transfer tryexec trysystem
    """.split()  # noqa: SIM905
)
"""Applications whose arguments are a program, a file, an address, a
function, or another application."""

CALLING_APPLICATIONS = frozenset({"chanisavail", "dial", "page"})
"""Applications whose first argument is a list of channels."""


def is_harmless_function(name: str, text: str) -> bool:
    """Whether function `name` is harmless in `text`; both in lower case.

    CHANNEL can send a call to another extension, and GLOBAL can set any variable.
    """
    if name == "channel" and ("goto" in text or "handler" in text):
        return False
    return name in HARMLESS_FUNCTIONS and not any(variable in text for variable in GUARDED_VARIABLES)


def function_names(text: str) -> list[str]:
    """The names before each `(`, in order: `if(shell(x))` gives `if` and `shell`."""
    names = []
    for piece in text.split("(")[:-1]:
        start = len(piece)
        while start and (piece[start - 1].isalnum() or piece[start - 1] == "_"):
            start -= 1
        if start < len(piece):
            names.append(piece[start:])
    return names


def split_arguments(text: str) -> list[str]:
    """The arguments in `text`, without quotes and backslashes.

    Commas inside parentheses, brackets and quotes do not split (`ast_app_separate_args`,
    main/app.c).
    """
    arguments: list[str] = []
    current: list[str] = []
    parentheses = brackets = 0
    quoted = literal = False
    for character in text:
        if literal:
            literal = False
        elif character == "\\":
            literal = True
            continue
        elif character == '"':
            quoted = not quoted
            continue
        elif character == "," and not (parentheses or brackets or quoted):
            arguments.append("".join(current))
            current = []
            continue
        else:
            parentheses = max(0, parentheses + (character == "(") - (character == ")"))
            brackets = max(0, brackets + (character == "[") - (character == "]"))
        current.append(character)
    return [*arguments, "".join(current)] if text else []


def local_extensions(rest: str) -> list[tuple[str, str]]:
    """(extension, context) of `Local/REST`.

    Asterisk 16 reads options from the first slash on, 22 from the last (`local_alloc`), so there
    can be two.
    """
    cuts = dict.fromkeys((rest.partition("/")[0], rest.rpartition("/")[0] or rest))
    parts = (cut.partition("@") for cut in cuts)
    return [(extension, context or "default") for extension, _, context in parts]
