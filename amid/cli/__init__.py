"""The command line: a thin layer on `amid.client`, with text for people and JSON for scripts.

`main` has the table of commands and imports each one only when it is called, which keeps commands
fast to start. `exits` defines the exit statuses, `text` formats packets for a terminal, `complete`
provides shell completion.
"""
