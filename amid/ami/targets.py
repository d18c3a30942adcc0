"""What an action reaches in Asterisk, read as Asterisk reads it, so that no spelling evades a rule.

`targets_of` returns the applications, extensions, channels, functions, files and shell commands
that the fields of an action name, each with the rule that it needs (`Needs`). `TABLES` lists the
actions with such fields, `PLAIN` those without; an action in neither may reach anything. All texts
are in lower case. What a context, an application or a CLI alias runs in turn is Asterisk's
configuration and unknown here; the exception is `Dial`, whose channels are checked.

Both lists were made from ListCommands and the documentation of Asterisk 16.28 and 22.10, and from
their sources, which each line names. tests/asterisk/test_targets.py proves the dangerous ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from amid.ami import field_readers as read
from amid.ami.field_readers import Headers, Kind, Needs, Reader, Target

_NONE = Target(Kind.TEXT, "", Needs.NAME)
_DATABASE = read.text("family", "key", form="{}/{}")
_PASSWORDS = read.text(needs=Needs.PATTERN, form="passwords")
_MAILBOX = read.text("mailbox", "context", form="{}@{}")

TABLES: dict[str, tuple[Reader, ...]] = {
    # dialplan
    "originate": (  # main/manager.c
        read.destination,
        read.channel("channel", simple=Needs.NOTHING),
        read.given("predialgosub", Kind.APPLICATION, Needs.WHOLE_NAME, form="gosub"),  # it runs before Asterisk dials
        read.set_on_channel,
    ),
    "redirect": (read.extension("exten", "context"), read.extension("extraexten", "extracontext", optional=True)),  # main/manager.c
    "atxfer": (read.extension("exten", "context"),),  # main/manager.c
    "blindtransfer": (read.extension("exten", "context"),),  # main/manager.c
    "park": (  # dialled when parking times out; res/parking/parking_manager.c; Channel2 is the old name
        read.channel("timeoutchannel", dialplan=Needs.PATTERN),
        read.channel("channel2", dialplan=Needs.PATTERN),
    ),
    "queueadd": (read.channel("interface", limit=read.MAX_PART_BYTES),),  # dialled for each caller; apps/app_queue.c
    "dialplanextensionadd": (  # pbx/pbx_config.c
        read.extension("extension", "context", Needs.PATTERN),
        read.given("application", Kind.APPLICATION),
    ),
    "dialplanextensionremove": (read.extension("extension", "context", Needs.PATTERN),),  # pbx/pbx_config.c
    "playdtmf": (read.given("receive", needs=Needs.WHOLE_NAME, form="receive"),),  # dials feature codes; apps/app_senddtmf.c
    "showdialplan": (read.extension("extension", "context"),),  # shows PINs that stand in it; main/pbx.c
    "dahdidialoffhook": (read.text("number"),),  # channels/chan_dahdi.c
    "command": (read.command,),  # main/manager.c
    # variables and functions
    "getvar": (read.variable,),  # main/manager.c
    "setvar": (read.variable,),  # main/manager.c
    "status": (read.variables, read.given("allvariables", needs=Needs.WHOLE_NAME, form="all variables")),  # main/manager.c
    # a shell, and files
    "agi": (read.text("command", needs=Needs.PATTERN),),  # EXEC runs any application; res/res_agi.c
    "mixmonitor": (  # apps/app_mixmonitor.c
        read.recording("file"),
        read.mixmonitor_options,
        read.given("command", Kind.SHELL, form="!{}"),
    ),
    "monitor": (read.recording("file"), read.unnamed_mix),  # until 20: a shell mixes the files; res/res_monitor.c
    "changemonitor": (read.recording("file"),),  # res/res_monitor.c
    "confbridgestartrecord": (read.recording("recordfile"), read.conference),  # MixMonitor's arguments; apps/app_confbridge.c
    "pridebugfileset": (read.given("file", Kind.PATH),),  # channels/chan_dahdi.c
    # Asterisk's own configuration
    "getconfig": (read.configuration("filename"),),  # main/manager.c
    "getconfigjson": (read.configuration("filename"),),  # main/manager.c
    "listcategories": (read.configuration("filename", Needs.WHOLE_NAME),),  # main/manager.c
    "updateconfig": (read.configuration("srcfilename"), read.configuration("dstfilename")),  # main/manager.c
    "createconfig": (read.configuration("filename"),),  # main/manager.c
    "moduleload": (read.text("loadtype", "module", needs=Needs.PATTERN, form="{} {}"),),  # any path; main/loader.c
    "reload": (read.text("module"),),  # main/manager.c
    "loggerrotate": (read.text(form=""),),  # main/manager.c
    "dahdirestart": (read.text(form=""),),  # channels/chan_dahdi.c
    **dict.fromkeys(("dbget", "dbgettree", "dbput", "dbdel", "dbdeltree"), (_DATABASE,)),  # main/db.c
    # secrets
    "pjsipshowauths": (_PASSWORDS,),  # res/res_pjsip/config_auth.c
    "pjsipshowendpoint": (read.text("endpoint", needs=Needs.PATTERN),),  # shows its auth too; res/res_pjsip/pjsip_configuration.c
    "pjsipshowregistrationsoutbound": (_PASSWORDS,),  # shows its auth; res/res_pjsip_outbound_registration.c
    # messages
    "messagesend": (read.message("to"), read.message("destination")),  # main/message.c
    "pjsipnotify": (read.given("uri"),),  # res/res_pjsip_notify.c
    "sipnotify": (read.text("channel"),),  # an unknown peer is a host's name; channels/chan_sip.c
    "jabbersend": (read.text("jid"),),  # res/res_xmpp.c
    "voicemailforward": (_MAILBOX, read.text("tomailbox", "tocontext", form="{}@{}")),  # apps/app_voicemail.c
    "voicemailmove": (_MAILBOX,),  # apps/app_voicemail.c
    "voicemailremove": (_MAILBOX,),  # apps/app_voicemail.c
}  # fmt: skip
"""Actions whose fields or answers reach more than the action's name says."""

PLAIN = frozenset(
    """
    absolutetimeout agentlogoff agents aocmessage bridge bridgedestroy bridgeinfo bridgekick bridgelist bridgetechnologylist
    bridgetechnologysuspend bridgetechnologyunsuspend cancelatxfer challenge confbridgekick confbridgelist confbridgelistrooms
    confbridgelock confbridgemute confbridgesetsinglevideosrc confbridgestoprecord confbridgeunlock confbridgeunmute
    controlplayback coresettings coreshowchannelmap coreshowchannels corestatus dahdidndoff dahdidndon dahdihangup
    dahdishowchannels dahdishowstatus dahditransfer devicestatelist events extensionstate extensionstatelist faxsession faxsessions
    faxstats filter filterlist hangup iaxnetstats iaxpeerlist iaxpeers iaxregistry listcommands localoptimizeaway login logoff
    mailboxcount mailboxstatus meetmelist meetmelistrooms meetmemute meetmeunmute mixmonitormute modulecheck muteaudio mwidelete
    mwiget mwiupdate parkedcalls parkinglots pausemonitor ping pjsiphangup pjsipqualify pjsipregister pjsipsetmaintenance
    pjsipshowaors pjsipshowcontacts pjsipshowendpoints pjsipshowmaintenance pjsipshowregistrationinboundcontactstatuses
    pjsipshowregistrationsinbound pjsipshowresourcelists pjsipshowsubscriptionsinbound pjsipshowsubscriptionsoutbound
    pjsipunregister playmf presencestate presencestatelist pridebugfileunset pridebugset prishowspans
    queuechangeprioritycaller queuelog queuememberringinuse queuepause queuepenalty queuereload queueremove queuereset queuerule
    queuestatus queuesummary queuewithdrawcaller sendflash sendtext sippeers sippeerstatus sipqualifypeer sipshowpeer
    sipshowregistry skinnydevices skinnylines skinnyshowdevice skinnyshowline sorcerymemorycacheexpire
    sorcerymemorycacheexpireobject sorcerymemorycachepopulate sorcerymemorycachestale sorcerymemorycachestaleobject
    stopmixmonitor stopmonitor unpausemonitor userevent voicemailboxsummary voicemailrefresh voicemailuserslist
    voicemailuserstatus waitevent
    """.split()  # noqa: SIM905
)
"""Actions that reach nothing beyond existing calls, queues and lists."""


def targets_of(action: str, fields: Mapping[Any, Any]) -> list[Target]:
    """What `action` reaches with these `fields`: at least one target, with text "" if the fields
    name none.

    Raises `InvalidAction` for fields that no packet can carry, and for a repeated header that a
    rule depends on.
    """
    name = action.lower()
    if name in PLAIN:
        return [_NONE]
    if name not in TABLES:
        return [Target(Kind.TEXT, "", Needs.WHOLE_NAME)]
    headers = Headers(action, fields)
    targets = [target for read in TABLES[name] for target in read(headers)]
    return targets or [_NONE]
