"""`amid keygen`: makes a CURVE key pair, for the daemon or for a client, or prints the public half
of one."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

import click
import zmq

from amid.cli.exits import Reporting
from amid.config.read import UnreadableError, read_first_line


@click.command(cls=Reporting)
@click.option("--public", is_flag=True, help="Print the public key of the secret key in FILE, which stays as it is.")
@click.argument("file", type=click.Path(path_type=Path))
def keygen(file: Path, public: bool) -> None:
    """Make a CURVE key pair: write the secret key to FILE, which must not exist, and print the
    public key.

    FILE is secret_key_file in [curve] for the daemon; the public key of a client is `key` in
    [callers.NAME].
    """
    click.echo(_public_key(file) if public else _make_pair(file))


def _make_pair(file: Path) -> str:
    """Write a new secret key to `file`, and return its public key."""
    public, secret = zmq.curve_keypair()
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        _fail(f"{file} exists; choose another name, or print its public key with `amid keygen --public {file}`")
    except OSError as error:
        _fail(f"{file}: {error.strerror}")
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(secret + b"\n")
    return public.decode()


def _public_key(file: Path) -> str:
    """The public key of the secret key in `file`."""
    try:
        return zmq.curve_public(read_first_line(file).encode()).decode()
    except UnreadableError as error:
        _fail(str(error))
    except (ValueError, zmq.ZMQError):  # of another length; not Z85
        _fail(f"{file} has no secret key: its first line must be the 40 characters that `amid keygen` writes")


def _fail(message: str) -> NoReturn:
    click.echo(f"amid: {message}", err=True)
    sys.exit(2)
