"""The actions whose answers do not say where they end.

Every other answer does: one response, or a list framed by `EventList: start` and `EventList: Complete`. For those below the lane
sends a Ping right behind: Asterisk serves a session strictly in sequence, so the Ping's answer proves that the earlier one is over
(see `exchange`). Names are in lower case. Sources: main/manager.c, apps/app_queue.c, apps/app_voicemail.c, res/res_fax.c,
channels/chan_iax2.c and chan_dahdi.c, res/res_xmpp.c of branches 1.8 to 23.
"""

UNMARKED_LISTS = {
    "agents": "AgentsComplete",
    "bridgeinfo": "BridgeInfoComplete",
    "dahdishowchannels": "DAHDIShowChannelsComplete",
    "dbget": "DBGetComplete",
    "iaxpeerlist": "PeerlistComplete",
    "konferencelist": "ConferenceListComplete",
    "parkedcalls": "ParkedCallsComplete",
    "parkinglots": "ParkinglotsComplete",
    "prishowspans": "PRIShowSpansComplete",
    "queuestatus": "QueueStatusComplete",
    "queuesummary": "QueueSummaryComplete",
    "sippeerstatus": "SIPpeerstatusComplete",
    "status": "StatusComplete",
    "voicemailuserslist": "VoicemailUserEntryComplete",
}
"""Lists without the EventList marker before Asterisk 13.2: action -> its closing event. VoicemailUsersList still answers a plain
Success with nothing behind it when there are no users."""

SINGLE_EVENT = {"faxsession": "FAXSession", "faxstats": "FAXStats"}
"""A response, then exactly this one event and no completion."""

SEVERAL_RESPONSES = frozenset({"jabbersend", "moduleload", "pridebugset", "pridebugfileset"})
"""More than one response for one action; any Error among them is the outcome."""

MAYBE_NO_RESPONSE = frozenset({"dataget", "events", "iaxnetstats", "queues"})
"""Raw text, an event alone, or nothing at all where others have a response."""

WAIT_EVENT = "waitevent"
"""Answers when something happened, then the events without ActionID, then WaitEventComplete. Input on the session ends the wait,
so no Ping may go behind it."""

ITEMS_WITHOUT_ACTION_ID = frozenset({"iaxpeers", WAIT_EVENT})

CHANGES_SESSION = frozenset({"challenge", "events", "filter", "login", "logoff"})
"""They change or end the session they run on, so the lane is closed after them and opened afresh."""
