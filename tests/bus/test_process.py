"""The process `bus` on real nats-servers: events, calls, discovery."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from typing import Any

import nats.errors
import pytest
from nats.js.api import DiscardPolicy, StreamConfig

from amid import wire
from amid.simulator import SimulatedPbx
from tests.bus.conftest import check_numbering, gaps, missing_version, nats_table, send_events, wait_served, wait_stored
from tests.bus.nats_server import Consumer, NatsServer
from tests.conftest import StartDaemon
from tests.daemon import Daemon, eventually
from tests.need import need
from tests.processes.pbx import simulated, table

CALLERS = {"callers__crm": {"nats": "crm", "allow": ["Ping"]}, "callers__ops": {"nats": "ops", "admin": True}}
SITE = {"prefix": "site-a", "max_age": 3600, "max_bytes": 5_000_000, "leave_out": ["successfulauth"]}


@pytest.fixture(scope="module")
def configured(pbx: SimulatedPbx, nats_server: NatsServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A second daemon, with a prefix, limits and callers of its own."""
    daemon = Daemon(tmp_path_factory.mktemp("configured"), {"pbx1": table(pbx)}, nats=nats_table(nats_server, **SITE), **CALLERS)
    try:
        yield daemon.start()
    finally:
        daemon.close()


def action(name: str, number: int = 1, **params: Any) -> dict[str, Any]:
    return {"id": number, "method": "action", "params": {"action": name, **params}}


def expires(seconds: float) -> dict[str, str]:
    return {"Amid-Expires": str(int((time.time() + seconds) * 1000))}


def test_both_versions_are_tested() -> None:
    need(missing_version(), of="NATS")


# ── events ──


def test_events_are_stored_as_published_locally(daemon: Daemon, consumer: Consumer) -> None:
    after = {key: daemon.result("events", {"server": "pbx1", "timeout": 0})[key] for key in ("epoch", "seq")}
    wait_stored(consumer, send_events(daemon, 20))
    stored = consumer.messages()
    check_numbering([event for event, _ in stored])
    pulled = daemon.result("events", {"server": "pbx1", "after": after, "timeout": 0})["events"]
    assert [event for event, _ in stored if event["seq"] > after["seq"]] == pulled
    assert all(headers["Nats-Msg-Id"] == f"pbx1:{event['epoch']}:{event['seq']}" for event, headers in stored)


def test_a_consumer_filters_events_by_name(daemon: Daemon, consumer: Consumer) -> None:
    wait_stored(consumer, send_events(daemon, 3))

    async def names() -> set[str]:
        subscription = await consumer.jetstream.pull_subscribe("amid.event.pbx1.UserEvent", "crm", stream="AMID_pbx1")
        return {json.loads(message.data)["event"] for message in await subscription.fetch(3, timeout=5)}

    assert consumer.run(names()) == {"UserEvent"}


@pytest.mark.newest_nats
def test_bytes_that_are_not_utf8_are_encoded_as_in_the_contract(daemon: Daemon, consumer: Consumer) -> None:
    daemon.action("UserEvent", {"UserEvent": "Odd", "Name": "Gr\udcfc\udcdfe"})

    def odd() -> Any:
        return [event["fields"]["Name"] for event in consumer.stored() if event["fields"].get("UserEvent") == "Odd"]

    assert eventually(odd, "the event is stored") == ["Gr\udcfc\udcdfe"]


@pytest.mark.newest_nats
def test_events_in_leave_out_are_not_stored(configured: Daemon, consumer: Consumer) -> None:
    numbers = send_events(configured, 2)

    def stored() -> list[dict[str, Any]]:
        return consumer.stored(stream="SITE-A_pbx1")

    eventually(lambda: [event for event in stored() if event["fields"].get("Number") == str(numbers[-1])], "it is stored")
    assert "SuccessfulAuth" not in {event["event"] for event in stored()}
    assert "SuccessfulAuth" in {event["event"] for event in consumer.stored()}


def test_the_stream_has_the_configured_limits(configured: Daemon, consumer: Consumer, nats_server: NatsServer) -> None:
    def config() -> Any:
        return consumer.run(consumer.jetstream.stream_info("SITE-A_pbx1")).config

    eventually(config, "the stream is there")
    assert (config().max_age, config().max_bytes, config().subjects) == (3600.0, 5_000_000, ["site-a.event.pbx1.>"])
    configured.configure(configured.servers, nats=nats_table(nats_server, **{**SITE, "max_age": 7200}), **CALLERS)
    assert configured.process is not None
    configured.process.send_signal(1)
    eventually(lambda: config().max_age == 7200.0, "the stream has the new limit")


def test_a_stream_of_another_program_gets_the_settings_with_which_it_has_all_events(
    daemon_for: StartDaemon, own_nats: NatsServer, pbx: SimulatedPbx
) -> None:
    own_nats.start()
    with Consumer(own_nats.url) as consumer:
        lacking: dict[str, Any] = {"discard": DiscardPolicy.NEW, "max_bytes": 50_000, "max_msgs_per_subject": 1, "max_msg_size": 99}
        config = StreamConfig("AMID_pbx1", subjects=["amid.event.pbx1.>"], no_ack=True, **lacking)
        consumer.run(consumer.jetstream.add_stream(config))
        daemon = daemon_for({"pbx1": table(pbx)}, nats=nats_table(own_nats))
        wait_stored(consumer, send_events(daemon, 20))


def test_a_bus_that_died_is_replaced_and_continues_without_a_gap(daemon: Daemon, consumer: Consumer) -> None:
    sent = send_events(daemon, 5)
    wait_stored(consumer, sent)
    before = consumer.stored()
    daemon.kill("bus")
    wait_stored(consumer, sent + send_events(daemon, 5))
    check_numbering(consumer.stored())
    assert not gaps(consumer.stored()[len(before) :])


@pytest.mark.newest_nats
def test_a_replaced_reader_starts_a_greater_epoch_after_a_gap(daemon: Daemon, consumer: Consumer) -> None:
    sent = send_events(daemon, 2)
    wait_stored(consumer, sent)
    before = consumer.stored()
    epoch = daemon.server("pbx1")["epoch"]
    daemon.kill("reader pbx1")
    eventually(lambda: daemon.server("pbx1")["epoch"] != epoch, "another reader")
    daemon.wait_up("pbx1")
    wait_stored(consumer, sent + send_events(daemon, 2))
    check_numbering(consumer.stored())
    new = consumer.stored()[len(before) :]
    (gap,) = gaps(new)
    assert new[0] == gap and gap["missed"] is None and gap["epoch"] == new[-1]["epoch"] > before[-1]["epoch"]


@pytest.mark.newest_nats
def test_a_daemon_starts_without_nats_and_stores_its_events_later(daemon_for: StartDaemon, own_nats: NatsServer) -> None:
    with simulated() as pbx:
        daemon = daemon_for({"pbx1": table(pbx)}, nats=nats_table(own_nats))
        sent = send_events(daemon, 3)
        own_nats.start()
        with Consumer(own_nats.url) as consumer:
            wait_stored(consumer, sent)


# ── calls ──


def test_a_call_is_answered_as_on_the_local_socket(daemon: Daemon, consumer: Consumer) -> None:
    wait_served(consumer)
    answer = consumer.request("amid.rpc.pbx1.action.Ping", action("Ping", 7), headers=expires(5))
    assert (answer["id"], answer["result"]["response"]["Ping"]) == (7, "Pong")
    error = consumer.request("amid.rpc.pbx1.action.Hangup", action("Hangup", fields={"Channel": "none"}))["error"]
    assert error["data"]["kind"] == "action_failed" and error["data"]["sent"] is True
    assert consumer.request("amid.rpc.pbx1.servers")["result"][0]["name"] == "pbx1"


@pytest.mark.newest_nats
def test_the_state_and_its_changes_are_available(daemon: Daemon, consumer: Consumer) -> None:
    wait_served(consumer)

    def ask(method: str, **params: Any) -> Any:
        body = {"id": 1, "method": method, "params": {"kinds": ["queues", "members"], **params}}
        return consumer.request(f"amid.rpc.pbx1.{method}", body)["result"]

    state = eventually(lambda: ask("state"), "the state is loaded")
    assert state["queues"]
    after = {key: state[key] for key in ("epoch", "seq", "rev")}
    member = {"Queue": state["queues"][0]["name"], "Interface": "PJSIP/over-nats"}
    daemon.action("QueueAdd", member)
    page = eventually(lambda: (page := ask("events", after=after, timeout=5))["events"] and page, "a change")
    assert page["missed"] == 0 and page["events"][0]["rev"] > after["rev"]
    daemon.action("QueueRemove", member)


@pytest.mark.newest_nats
def test_a_call_in_messagepack_is_answered_in_messagepack(daemon: Daemon, consumer: Consumer) -> None:
    wait_served(consumer)
    answer = consumer.run(consumer.client.request("amid.rpc.pbx1.action.Ping", wire.pack(action("Ping")), timeout=10))
    assert wire.unpack(answer.data)["result"]["response"]["Ping"] == "Pong"
    assert "Amid-Instance" in (answer.headers or {})


@pytest.mark.newest_nats
def test_a_call_that_expired_is_not_carried_out(daemon: Daemon, consumer: Consumer) -> None:
    wait_served(consumer)
    request = action("UserEvent", fields={"UserEvent": "Late"})
    error = consumer.request("amid.rpc.pbx1.action.UserEvent", request, headers=expires(-0.001))["error"]
    assert (error["data"]["kind"], error["data"]["sent"]) == ("timeout", False)
    wait_stored(consumer, send_events(daemon, 1))
    assert not [event for event in consumer.stored() if event["fields"].get("UserEvent") == "Late"]


@pytest.mark.newest_nats
def test_a_call_that_expires_before_the_broker_reads_it_is_not_carried_out(daemon: Daemon, consumer: Consumer) -> None:
    subject, event = "amid.rpc.pbx1.action.UserEvent", action("UserEvent", fields={"UserEvent": "TooLate"}, timeout=20)
    pid = daemon.signal("broker", signal.SIGSTOP)
    try:
        asked = consumer.client.request(subject, json.dumps(event).encode(), timeout=10, headers=expires(0.2))
        pending = asyncio.run_coroutine_threadsafe(asked, consumer.loop)
        time.sleep(0.5)  # until it has expired, and for less time than the supervisor waits
    finally:
        os.kill(pid, signal.SIGCONT)
    assert json.loads(pending.result(20).data)["error"]["data"] == {"kind": "timeout", "sent": False}
    wait_stored(consumer, send_events(daemon, 1))
    assert "TooLate" not in [event["fields"].get("UserEvent") for event in consumer.stored()]


def test_without_a_session_there_are_no_responders(daemon_for: StartDaemon, own_nats: NatsServer) -> None:
    own_nats.start()
    with simulated() as pbx, Consumer(own_nats.url) as consumer:
        daemon_for({"pbx1": table(pbx)}, nats=nats_table(own_nats))
        wait_served(consumer)
        pbx.stop()

        def has_no_responders() -> bool:
            try:
                consumer.request("amid.rpc.pbx1.ping", timeout=3)
            except nats.errors.NoRespondersError:
                return True
            return False

        eventually(has_no_responders, "no responders")
        assert consumer.request("amid.rpc.status")["result"]["servers"][0]["state"] != "up"


@pytest.mark.newest_nats
@pytest.mark.parametrize(
    "command",
    [
        b"PUB amid.rpc.pbx1.\xff _INBOX.x 0\r\n\r\n",
        b"PUB amid.rpc.pbx1.ping _INBOX.\xff 0\r\n\r\n",
        b"HPUB amid.rpc.pbx1.ping _INBOX.x 14 14\r\nNATS/1.0 \xff\r\n\r\n\r\n",
        b"HPUB amid.rpc.pbx1.ping _INBOX.x 1 1\r\nN\r\n",
    ],
    ids=["subject", "reply", "status", "headers"],
)
def test_a_message_that_cannot_be_decoded_costs_no_connection(
    daemon: Daemon, consumer: Consumer, nats_server: NatsServer, command: bytes
) -> None:
    wait_served(consumer)
    with socket.create_connection((nats_server.address, nats_server.port), timeout=10) as connection:
        connection.sendall(b'CONNECT {"verbose":false,"headers":true}\r\n' + command + b"PING\r\n")
        received = b""
        while b"PONG" not in received:
            received += connection.recv(4096) or b"-ERR closed"
            assert b"-ERR" not in received
    assert "result" in consumer.request("amid.rpc.pbx1.ping", timeout=2)


@pytest.mark.parametrize("subject", ["amid.rpc.pbx1.ping", "amid.rpc.status", "$SRV.PING.amid"])
def test_a_reply_cannot_be_directed_to_a_subject_of_amid(daemon: Daemon, consumer: Consumer, subject: str) -> None:
    wait_served(consumer)
    for reply in ("amid.event.pbx1.UserEvent", "$KV.amid-owners.other", "amid-crm.rpc.pbx1.ping"):
        consumer.run(consumer.client.publish(subject, b"", reply=reply))
    wait_stored(consumer, send_events(daemon, 3))
    assert all("epoch" in event for event in consumer.stored())
    owners = consumer.run(consumer.jetstream.stream_info("KV_amid-owners", subjects_filter=">")).state
    assert "$KV.amid-owners.other" not in (owners.subjects or {})


def test_a_reply_that_does_not_fit_with_its_headers_costs_no_connection(
    own_nats: NatsServer, daemon_for: StartDaemon, pbx: SimulatedPbx
) -> None:
    own_nats.start()
    daemon_for({"pbx1": table(pbx)}, nats=nats_table(own_nats))
    with Consumer(own_nats.url) as consumer:
        wait_served(consumer)
        reply = consumer.run(consumer.client.request("amid.rpc.pbx1.actions", b"", timeout=10))
        own_nats.restart(f"max_payload: {len(reply.data)}")
        wait_served(consumer)
        assert consumer.request("amid.rpc.pbx1.actions", timeout=5)["error"]["data"]["kind"] == "too_large"
        assert "result" in consumer.request("amid.rpc.pbx1.ping", timeout=2)


def test_a_caller_has_a_prefix_with_its_own_lists(configured: Daemon, consumer: Consumer) -> None:
    wait_served(consumer, "site-a")
    assert "result" in consumer.request("site-a-crm.rpc.pbx1.action.Ping", action("Ping"))
    error = consumer.request("site-a-crm.rpc.pbx1.action.QueueStatus", action("QueueStatus"))["error"]
    assert (error["data"]["kind"], error["data"]["sent"]) == ("denied", False)
    assert "callers.crm" in error["message"]
    assert consumer.request("site-a.rpc.pbx1.restart")["error"]["data"]["kind"] == "denied"
    assert "result" in consumer.request("site-a-ops.rpc.pbx1.audit")


def test_the_audit_trail_shows_what_a_denied_request_asked_for(configured: Daemon, consumer: Consumer) -> None:
    wait_served(consumer, "site-a")
    consumer.request("site-a-crm.rpc.pbx1.action.QueuePause", action("QueuePause", fields={"Queue": "audited"}))
    eventually(lambda: "target=audited" in configured.log.read_text(), "the log has it")
    (line,) = [line for line in configured.log.read_text().splitlines() if "target=audited" in line]
    for part in ("process=bus", "principal=token:nats:crm", "method=action", "action=QueuePause", "server=pbx1", "outcome=denied"):
        assert part in line


# ── discovery ──


def test_ticks_servers_and_instances_are_announced(daemon: Daemon, consumer: Consumer) -> None:
    wait_served(consumer)
    ticks = consumer.collect("amid.tick.pbx1")
    send_events(daemon, 1)
    tick = eventually(lambda: next(tick for tick in ticks if "UserEvent" in tick["last"]), "a tick with the event")
    assert tick["event"] == "amid:tick" and tick["seq"] >= tick["last"]["UserEvent"]

    async def view() -> dict[str, Any]:
        bucket = await consumer.jetstream.key_value("amid-servers")
        found: dict[str, Any] = json.loads((await bucket.get("pbx1")).value or b"{}")
        return found

    assert eventually(lambda: consumer.run(view()), "the server is in the bucket")["state"] == "up"
    found = json.loads(consumer.run(consumer.client.request("$SRV.INFO.amid", b"", timeout=5)).data)
    assert found["metadata"]["servers"] == "pbx1" and found["metadata"]["instance"]
