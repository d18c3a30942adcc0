"""The ladders that `amid call` must show for each scenario, written by hand, with N for seconds.

Each is that of the first call: a conference has one call for each participant.
"""

from __future__ import annotations

LADDERS = {
    "answered": """
        Alice (100) calls 200
        Bob (200) rings
        Bob (200) answers after N s
        Alice (100) and Bob (200) talk
        Alice (100) puts the call on hold
        Alice (100) takes the call off hold
        Alice (100) hangs up
        the call ends after N s
        """,
    "busy": """
        Alice (100) calls 200
        Bob (200) is busy
        the PBX ends the call after N s: User busy (17)
        """,
    "no_answer": """
        Alice (100) calls 201
        Bob (200) rings
        Bob (200) does not answer within N s
        the PBX ends the call after N s: User alerting, no answer (19)
        """,
    "voicemail": """
        Alice (100) calls 202
        Bob (200) rings
        Bob (200) does not answer within N s
        Alice (100) is sent to voicemail 1000@default
        Alice (100) hangs up
        the call ends after N s
        """,
    "abandoned": """
        Alice (100) calls 400
        Alice (100) waits in queue desk, position 1
        queue desk calls Bob
        Bob (200) rings
        Alice (100) hangs up
        Alice (100) gives up waiting in queue desk after N s
        the call ends after N s
        """,
    "blind_transfer": """
        Alice (100) calls 200
        Bob (200) rings
        Bob (200) answers after N s
        Alice (100) and Bob (200) talk
        Bob (200) transfers Alice (100) to 300
        Carol (300) rings
        Carol (300) answers after N s
        Alice (100) and Carol (300) talk
        Alice (100) hangs up
        the call ends after N s
        """,
    "attended_transfer": """
        Alice (100) calls 200
        Bob (200) rings
        Bob (200) answers after N s
        Alice (100) and Bob (200) talk
        Bob (200) puts the call on hold
        Bob (200) calls 300
        Carol (300) rings
        Carol (300) answers after N s
        Bob (200) and Carol (300) talk
        Bob (200) connects Alice (100) with Carol (300)
        Carol (300) hangs up
        the call ends after N s
        """,
    "parked": """
        Alice (100) calls 700
        Alice (100) is parked in space 701
        Bob (200) calls 701
        Bob (200) takes Alice (100) from parking space 701
        Alice (100) hangs up
        the call ends after N s
        """,
    "conference": """
        Alice (100) calls 500
        Alice (100) joins conference 500
        Alice (100) hangs up
        the call ends after N s
        """,
    "pickup": """
        Alice (100) calls 200
        Bob (200) rings
        Carol (300) calls 820
        Carol (300) picks up the call to Bob (200)
        Alice (100) and Carol (300) talk
        Alice (100) hangs up
        the call ends after N s
        """,
    "forward": """
        Alice (100) calls 200
        Bob (200) forwards the call to 300
        Carol (300) rings
        Carol (300) answers after N s
        Alice (100) and Carol (300) talk
        Alice (100) hangs up
        the call ends after N s
        """,
    "agent_hangs_up": """
        Alice (100) calls 400
        Alice (100) waits in queue desk, position 1
        queue desk calls Bob
        Bob (200) rings
        Bob answers; Alice (100) waited N s
        Alice (100) and Bob (200) talk
        Bob (200) hangs up
        the call ends after N s
        """,
    "restarted": """
        Alice (100) calls 200
        Bob (200) rings
        Bob (200) answers after N s
        Alice (100) and Bob (200) talk
        Asterisk stops
        the call ends after N s
        """,
}

OUTCOMES = {
    "answered": ("answered", "caller"),
    "busy": ("busy", "pbx"),
    "no_answer": ("no answer", "pbx"),
    "voicemail": ("voicemail", "caller"),
    "abandoned": ("abandoned", "caller"),
    "blind_transfer": ("answered", "caller"),
    "attended_transfer": ("answered", "callee"),
    "parked": ("answered", "caller"),
    "conference": ("answered", "caller"),
    "pickup": ("answered", "caller"),
    "forward": ("answered", "caller"),
    "agent_hangs_up": ("answered", "agent"),
    "restarted": ("answered", "restart"),
}
"""Outcome, and who ended the call."""


def lines(kind: str) -> list[str]:
    return [line.strip() for line in LADDERS[kind].strip().splitlines()]
