"""TLS in front of a simulated PBX, as stunnel does it, and certificates made on the spot."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import subprocess
import threading
from pathlib import Path

from tests.daemon import BOUND_S
from tests.need import need_programs


def certificate(folder: Path, name: str, host: str = "IP:127.0.0.1", made_at: str = "now") -> tuple[Path, Path]:
    """A self-signed certificate for `host`, which is its own CA, and its key; good for two days from `made_at` on (a date)."""
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    files = ["-out", str(cert), "-keyout", str(key), "-subj", f"/CN={name}", "-addext", f"subjectAltName={host}"]
    faked = [] if made_at == "now" else ["faketime", made_at]
    need_programs("openssl", *faked[:1], of="ASTERISK")
    subprocess.run([*faked, *made, *files], check=True, capture_output=True)
    return cert, key


class TlsFront:
    """Listens with TLS on a free port and passes everything on. `client_ca`: callers must show a certificate of its. `newest`: the
    highest version that it speaks."""

    def __init__(
        self,
        port_behind: int,
        cert: Path,
        key: Path,
        client_ca: Path | None = None,
        newest: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED,
    ) -> None:
        self._behind = ("127.0.0.1", port_behind)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.maximum_version = newest
        self._context.load_cert_chain(cert, key)
        if client_ca is not None:
            self._context.verify_mode = ssl.CERT_REQUIRED
            self._context.load_verify_locations(client_ca)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._peers: list[socket.socket] = []
        self._open: list[ssl.SSLSocket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> TlsFront:
        self._threads[0].start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join(BOUND_S)
        for peer in self._peers:
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)
            peer.close()
        for thread in self._threads:
            thread.join(BOUND_S)

    def hang_up(self, notify: bool) -> None:
        """End this side of every connection: with a close_notify and without a FIN, or with a FIN alone."""
        ended, self._open = self._open, []
        for outer in ended:
            with contextlib.suppress(OSError):
                outer.settimeout(5.0)  # seconds, for the other side to close as well
                if notify:
                    outer.unwrap()
                else:
                    outer.shutdown(socket.SHUT_WR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._listener.accept()
                self._peers.append(socket.fromfd(peer.fileno(), socket.AF_INET, socket.SOCK_STREAM))
                thread = threading.Thread(target=self._serve, args=(peer,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, peer: socket.socket) -> None:
        with peer, contextlib.suppress(OSError):
            outer = self._context.wrap_socket(peer, server_side=True)
            self._open.append(outer)
            with outer, socket.create_connection(self._behind) as inner:
                self._pass_on(outer, inner)

    def _pass_on(self, outer: ssl.SSLSocket, inner: socket.socket) -> None:
        while True:
            ready = [outer] if outer.pending() else select.select([outer, inner], [], [])[0]
            for source, sink in ((outer, inner), (inner, outer)):
                if source in ready:
                    data = source.recv(65536)
                    if not data:
                        return
                    sink.sendall(data)
