"""`amid` and `python -m amid`: the command line, and the entry of the daemon's child processes.

The children are told apart before anything else is imported, so that a reader carries no command line in its memory.
"""

from __future__ import annotations

import sys


def main() -> None:
    if sys.argv[1:2] == ["reader"] and len(sys.argv) == 3:
        from amid.daemon import reader

        reader.main()
    elif sys.argv[1:] == ["broker"]:
        from amid.daemon import broker

        broker.main()
    else:
        from amid.cli.main import run

        sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
