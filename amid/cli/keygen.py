"""`amid keygen`: makes a CURVE key pair, for the daemon or for a client."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click
import zmq


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
def keygen(file: Path) -> None:
    """Make a CURVE key pair: write the secret key to FILE, which must not exist, and print the
    public key.

    FILE is secret_key_file in [curve] for the daemon; the public key of a client is `key` in
    [callers.NAME].
    """
    public, secret = zmq.curve_keypair()
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        click.echo(f"amid: {file} exists; choose another name, or remove the old key first", err=True)
        sys.exit(2)
    except OSError as error:
        click.echo(f"amid: {file}: {error.strerror}", err=True)
        sys.exit(2)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(secret + b"\n")
    click.echo(public.decode())
