"""The command line: a thin user of `amid.client`, with text for people and JSON for scripts.

`main` has the table of commands and imports each one only when it is called, so `amid action Ping` costs no more than it needs.
`exits` has the exit statuses, `text` puts packets on a terminal, `complete` serves the shell's completion.
"""
