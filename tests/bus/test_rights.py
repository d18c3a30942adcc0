"""The least rights on NATS of amid and of a consumer: all works with them, and without any one of them
something is refused.

etc/doc/bus.md lists the rights; a test compares.
"""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nats.errors
import pytest

from amid.simulator import SimulatedPbx
from tests.bus.conftest import check_numbering, nats_table, password_keys, send_events, wait_stored
from tests.bus.nats_jwt import Operator
from tests.bus.nats_server import Consumer, NatsServer
from tests.conftest import StartDaemon
from tests.daemon import BOUND_S, Daemon, eventually
from tests.processes.pbx import table

ROOT = Path(__file__).parents[2]

AMID_PUBLISH = [
    "amid.event.pbx1.>",
    "amid.tick.pbx1",
    "$KV.amid-owners.pbx1",
    "$KV.amid-servers.pbx1",
    "$JS.API.STREAM.INFO.AMID_pbx1",
    "$JS.API.STREAM.MSG.GET.AMID_pbx1",
    "$JS.API.STREAM.INFO.KV_amid-owners",
    "$JS.API.STREAM.MSG.GET.KV_amid-owners",
    "$JS.API.STREAM.INFO.KV_amid-servers",
]
"""Subjects that amid publishes to, besides replies, where an administrator has created the streams
and buckets."""
AMID_CREATE = [
    "$JS.API.STREAM.CREATE.AMID_pbx1",
    "$JS.API.STREAM.UPDATE.AMID_pbx1",
    "$JS.API.STREAM.CREATE.KV_amid-owners",
    "$JS.API.STREAM.CREATE.KV_amid-servers",
]
"""The same where amid creates them."""
AMID_SUBSCRIBE = ["_INBOX.>", "amid.rpc.>", "amid-crm.rpc.>", "$SRV.>"]

RESPONSES = "allow_responses"
RIGHTS = [*AMID_PUBLISH, *AMID_CREATE, RESPONSES]

CRM_PUBLISH = [
    "amid-crm.rpc.pbx1.action.QueueStatus",
    "$JS.API.CONSUMER.INFO.AMID_pbx1.crm",
    "$JS.API.CONSUMER.MSG.NEXT.AMID_pbx1.crm",
    "$JS.ACK.AMID_pbx1.crm.>",
]
CRM_SUBSCRIBE = ["_INBOX_crm.>"]
"""A prefix of its own, so that other programs cannot read its replies."""

PASSWORD = "geheim-amid"
RESTARTED = ("$JS.API.STREAM.UPDATE.AMID_pbx1", "$JS.API.STREAM.MSG.GET.KV_amid-owners")
"""Rights that a bus needs only when it has been here before: to change limits, and to find its own
lease."""

USERS = """users = [
  {{user: amid{number}, password: "geheim-amid", permissions:
    {{publish: {publish}, subscribe: {subscribe}, allow_responses: {responses}}} }}
  {{user: crm{number}, password: "geheim-crm", permissions: {{publish: {crm_publish}, subscribe: {crm_subscribe}}} }}
  {{user: admin{number}, password: "geheim-admin"}}
]"""


def users(missing: str = "", number: str = "") -> str:
    """The users of one account. missing: a right that amid does not have. number: appended to their
    names."""
    rights: dict[str, Any] = {
        "publish": [right for right in AMID_PUBLISH + AMID_CREATE if right != missing],
        "subscribe": AMID_SUBSCRIBE,
        "responses": False if missing == RESPONSES else {"max": 1, "expires": "1h"},
        "crm_publish": CRM_PUBLISH,
        "crm_subscribe": CRM_SUBSCRIBE,
    }
    return USERS.format(number=number, **{name: json.dumps(value) for name, value in rights.items()})


def test_the_page_for_operators_lists_these_rights() -> None:
    page = (ROOT / "etc/doc/bus.md").read_text()
    for right in AMID_PUBLISH + AMID_CREATE + AMID_SUBSCRIBE + CRM_PUBLISH + CRM_SUBSCRIBE:
        assert f'"{right}"' in page, right
    assert f"{RESPONSES}: " in page


@contextmanager
def administrator(server: NatsServer, number: str = "") -> Iterator[Consumer]:
    with Consumer(server.url, user=f"admin{number}", password="geheim-admin") as admin:
        yield admin


def violations(log: Path) -> list[str]:
    """What NATS has refused, in lower case, as nats-py reports it."""
    return [line for line in log.read_text().lower().splitlines() if "permissions violation" in line]


# ── all rights ──


def test_with_these_rights_all_works(own_nats: NatsServer, daemon_for: StartDaemon, pbx: SimulatedPbx, tmp_path: Path) -> None:
    own_nats.configuration = f"authorization {{ {users()} }}"
    own_nats.start()
    callers = {"callers__crm": {"nats": "crm", "allow": ["QueueStatus"]}}
    daemon = daemon_for({"pbx1": table(pbx)}, nats=nats_table(own_nats, **password_keys(tmp_path, PASSWORD)), **callers)
    crm = Consumer(own_nats.url, user="crm", password="geheim-crm", inbox_prefix="_INBOX_crm")

    async def create_consumer() -> None:
        await admin.jetstream.pull_subscribe("amid.event.pbx1.UserEvent", "crm", stream="AMID_pbx1")

    async def read() -> list[int]:
        subscription = await crm.jetstream.pull_subscribe_bind("crm", stream="AMID_pbx1")
        messages = await subscription.fetch(5, timeout=5)
        for message in messages:
            await message.ack()
        return [int(json.loads(message.data)["fields"]["Number"]) for message in messages]

    def queue_status() -> Any:
        body = {"id": 1, "method": "action", "params": {"action": "QueueStatus"}}
        return crm.request("amid-crm.rpc.pbx1.action.QueueStatus", body, timeout=2)["result"]

    with administrator(own_nats) as admin, crm:
        sent = send_events(daemon, 5)
        wait_stored(admin, sent)
        check_numbering(admin.stored())
        admin.run(create_consumer())
        assert crm.run(read()) == sent
        eventually(queue_status, "its action is executed")
        with pytest.raises(nats.errors.Error):  # nats-py reports a refused request as a timeout
            crm.request("amid.rpc.pbx1.action.Originate", {"method": "action", "params": {"action": "Originate"}}, timeout=1)
    assert not violations(daemon.log)


def test_with_streams_of_an_administrator_fewer_rights_suffice(
    own_nats: NatsServer, daemon_for: StartDaemon, pbx: SimulatedPbx, tmp_path: Path
) -> None:
    lists = {"publish": {"allow": AMID_PUBLISH}, "subscribe": AMID_SUBSCRIBE, "allow_responses": True}
    amid = {"user": "amid", "password": PASSWORD, "permissions": lists}
    admin_user = {"user": "admin", "password": "geheim-admin"}
    own_nats.configuration = f"authorization: {json.dumps({'users': [amid, admin_user]})}"
    own_nats.start()

    async def create() -> None:
        await admin.jetstream.create_key_value(bucket="amid-owners", ttl=2.0)
        await admin.jetstream.create_key_value(bucket="amid-servers", ttl=30.0)
        await admin.jetstream.add_stream(name="AMID_pbx1", subjects=["amid.event.pbx1.>"])

    with administrator(own_nats) as admin:
        eventually(lambda: admin.run(create()) is None, "they are created")
        keys = password_keys(tmp_path, PASSWORD)
        daemon = daemon_for({"pbx1": table(pbx)}, nats=nats_table(own_nats, create_streams=False, **keys))
        wait_stored(admin, send_events(daemon, 5))


@pytest.mark.newest_nats
def test_a_credentials_file_is_used(own_nats: NatsServer, daemon_for: StartDaemon, pbx: SimulatedPbx, tmp_path: Path) -> None:
    operator = Operator()
    own_nats.configuration = operator.configuration
    own_nats.start()
    file = operator.credentials(tmp_path / "amid.creds", "amid", AMID_PUBLISH + AMID_CREATE, AMID_SUBSCRIBE)
    daemon = daemon_for({"pbx1": table(pbx)}, nats=nats_table(own_nats, credentials_file=str(file)))
    reader = operator.credentials(tmp_path / "reader.creds", "reader", [">"], [">"])
    with Consumer(own_nats.url, user_credentials=str(reader)) as consumer:
        wait_stored(consumer, send_events(daemon, 5))


# ── all rights but one ──


@pytest.fixture(scope="module")
def accounts(nats_server: NatsServer) -> NatsServer:
    """A nats-server with an account for each right, whose user amid lacks it."""
    listed = [f"A{number} {{ jetstream: enabled, {users(right, str(number))} }}" for number, right in enumerate(RIGHTS)]
    jetstream = f'jetstream {{ store_dir: "{nats_server.store}" }}'
    nats_server.restart("\n".join([jetstream, "accounts {", *listed, "}"]))
    return nats_server


@pytest.fixture(scope="module")
def daemon(pbx: SimulatedPbx, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Without a bus of its own."""
    daemon = Daemon(tmp_path_factory.mktemp("amid"), {"pbx1": table(pbx)})
    try:
        yield daemon.start()
    finally:
        daemon.close()


class Bus:
    """A bus that is run by hand beside a daemon."""

    def __init__(self, daemon: Daemon, server: NatsServer, folder: Path, number: str) -> None:
        keys = password_keys(folder, PASSWORD) | {"user": f"amid{number}", "max_bytes": 0}
        self._daemon = daemon
        self._nats = nats_table(server, **keys)
        self._folder = folder
        self.log = folder / "bus.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, **keys: Any) -> None:
        top = {"run_dir": str(self._daemon.run_dir)}
        configured = Daemon(self._folder, self._daemon.servers, nats=self._nats | keys, **top)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(configured.argv("bus"), stdout=log, stderr=log)
        configured.close()

    def kill(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(BOUND_S)


@pytest.fixture
def bus(right: str, accounts: NatsServer, daemon: Daemon, tmp_path: Path) -> Iterator[Bus]:
    bus = Bus(daemon, accounts, tmp_path, str(RIGHTS.index(right)))
    bus.start()
    yield bus
    bus.kill()


@pytest.mark.newest_nats
@pytest.mark.parametrize("right", RIGHTS)
def test_without_one_right_amid_reports_what_was_refused(right: str, accounts: NatsServer, bus: Bus) -> None:
    if right in RESTARTED:
        eventually(lambda: "publishing to NATS" in bus.log.read_text(), "the bus has a stream and a lease")
        bus.kill()
        bus.start(max_age=60)
    if right == RESPONSES:
        with administrator(accounts, str(RIGHTS.index(right))) as caller:
            eventually(lambda: is_ignored(caller), "a call is not answered")
    refused = "_INBOX." if right == RESPONSES else right.replace(".>", ".")
    eventually(lambda: any(refused.lower() in line for line in violations(bus.log)), f"{right} is refused")


def is_ignored(caller: Consumer) -> bool:
    """Whether a call has a responder and no reply."""
    try:
        caller.request("amid.rpc.pbx1.ping", timeout=1)
    except nats.errors.NoRespondersError:
        return False
    except nats.errors.TimeoutError:
        return True
    raise AssertionError("the call was answered")
