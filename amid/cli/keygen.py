"""`amid keygen`: a key pair, for a daemon that listens on TCP or for a program that connects to it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click
import zmq


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
def keygen(file: Path) -> None:
    """Make a CURVE key pair: the secret key goes to FILE, which must not exist yet, and the public key is printed.

    The daemon's FILE is secret_key_file in [curve]; a program's public key is `key` in [callers.NAME].
    """
    public, secret = zmq.curve_keypair()
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        click.echo(f"amid: {file}: {error.strerror}", err=True)
        sys.exit(2)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(secret + b"\n")
    click.echo(public.decode())
