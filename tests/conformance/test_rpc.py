"""Every method of the RPC, over every kind of socket and in both codecs, and the shapes of its results (design.md, section 3)."""

from __future__ import annotations

import json

import msgpack
import pytest
import zmq

from tests.conformance.callers import CODECS, Action, Answered, Dealer, Map
from tests.conformance.pbx import SERVER, Pbx
from tests.daemon import BOUND_S, Daemon, eventually

TRANSPORTS = [(kind, codec) for kind in ("req", "dealer") for codec in CODECS]
RESULT = {"server", "action_id", "response", "events", "complete", "output", "elapsed"}
VIEW = {
    "name": str,
    "state": str,
    "detail": str,
    "asterisk": str,
    "epoch": int,
    "seq": int,
    "events": str,
    "stream": str,
    "lanes": dict,
    "queued": int,
    "since": float,
}


def ask(daemon: Daemon, transport: tuple[str, str], method: str, params: Map) -> Answered:
    kind, codec = transport
    if kind == "dealer":
        with Dealer(daemon, codec) as dealer:
            dealer.request("one", method, params)
            return dealer.reply("one")
    with daemon.socket(zmq.REQ) as socket:
        socket.connect(daemon.rpc)
        socket.send(CODECS[codec].pack({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
        assert socket.poll(int(BOUND_S * 1000))
        reply = CODECS[codec].unpack(socket.recv())
        assert (reply["jsonrpc"], reply["id"]) == ("2.0", 1)
        return Answered(reply, 0.0)


def check_view(view: Map) -> None:
    assert {name: type(view[name]) for name in VIEW} == VIEW
    assert view["name"] == SERVER and view["state"] == "up" and view["detail"] == ""
    assert set(view["lanes"]) == {"free", "busy", "limit"}
    assert view["events"].startswith("ipc://") and view["stream"].startswith("ipc://")


@pytest.mark.parametrize("transport", TRANSPORTS, ids="-".join)
class TestMethods:
    def test_ping(self, daemon: Daemon, transport: tuple[str, str]) -> None:
        assert ask(daemon, transport, "ping", {}).result == {}

    def test_action(self, daemon: Daemon, transport: tuple[str, str]) -> None:
        result = ask(daemon, transport, "action", {"action": "Ping", "server": SERVER, "timeout": 5}).result
        assert set(result) == RESULT
        assert (result["server"], result["events"], result["complete"], result["output"]) == (SERVER, [], None, [])
        assert result["response"]["Response"] == "Success" and result["response"]["Ping"] == "Pong"
        assert result["response"]["ActionID"] == result["action_id"]
        assert 0 < result["elapsed"] < 5

    def test_list(self, daemon: Daemon, transport: tuple[str, str]) -> None:
        result = ask(daemon, transport, "action", {"action": "QueueStatus", "fields": {"Queue": "support"}}).result
        assert [event["Event"] for event in result["events"]] == ["QueueParams", "QueueMember", "QueueMember"]
        assert result["complete"]["Event"] == "QueueStatusComplete" and result["complete"]["ListItems"] == "3"

    def test_command(self, daemon: Daemon, transport: tuple[str, str]) -> None:
        result = ask(daemon, transport, "action", {"action": "Command", "fields": {"Command": "core show uptime"}}).result
        assert [line.partition(":")[0] for line in result["output"]] == ["System uptime", "Last reload"]

    def test_action_that_fails(self, daemon: Daemon, transport: tuple[str, str]) -> None:
        error = ask(daemon, transport, "action", {"action": "Nonsense"}).error
        assert error["code"] == 1
        assert (error["data"]["kind"], error["data"]["sent"], error["data"]["server"]) == ("action_failed", True, SERVER)
        assert error["data"]["response"]["Message"].startswith("Invalid/unknown command: Nonsense.")
        assert error["data"]["response"]["ActionID"] == error["data"]["action_id"]

    def test_servers(self, daemon: Daemon, pbx: Pbx, transport: tuple[str, str]) -> None:
        (view,) = ask(daemon, transport, "servers", {}).result
        check_view(view)
        assert set(view) == set(VIEW)
        assert view["asterisk"].startswith(pbx.version)

    def test_status(self, daemon: Daemon, transport: tuple[str, str]) -> None:
        status = ask(daemon, transport, "status", {}).result
        assert set(status) == {"version", "uptime", "servers", "processes", "services", "counters", "callers"}
        check_view(status["servers"][0])
        assert all(isinstance(count, int) for count in status["servers"][0]["counters"].values())
        assert {process["name"] for process in status["processes"]} == {"supervisor", "broker", "state", f"reader {SERVER}"}
        assert all(set(one) >= {"name", "pid", "uptime", "restarts", "last_exit", "problem"} for one in status["processes"])

    def test_actions(self, daemon: Daemon, transport: tuple[str, str]) -> None:
        offered = ask(daemon, transport, "actions", {"server": SERVER}).result
        assert all(set(one) == {"name", "synopsis", "privilege"} for one in offered)
        names = [one["name"] for one in offered]
        assert {"Ping", "Originate", "QueueStatus", "Command"} <= set(names)
        assert names == sorted(names, key=str.lower)
        (ping,) = (one for one in offered if one["name"] == "Ping")
        assert (ping["synopsis"], ping["privilege"]) == ("Keepalive command.", "<none>")

    def test_events(self, daemon: Daemon, transport: tuple[str, str], mark: str) -> None:
        now = ask(daemon, transport, "events", {"server": SERVER, "after": None, "timeout": 0}).result
        assert set(now) == {"server", "epoch", "seq", "events", "missed", "more"}
        assert (now["server"], now["events"], now["missed"], now["more"]) == (SERVER, [], 0, False)
        daemon.action("UserEvent", {"UserEvent": mark}, until="UserEvent")
        cursor = {"epoch": now["epoch"], "seq": now["seq"]}
        page = ask(daemon, transport, "events", {"server": SERVER, "after": cursor, "names": ["USEREVENT"]}).result
        assert [event["fields"]["UserEvent"] for event in page["events"]] == [mark]
        assert (page["epoch"], page["missed"]) == (now["epoch"], 0) and page["seq"] >= page["events"][0]["seq"]
        ended = ask(daemon, transport, "events", {"server": SERVER, "after": {"epoch": 1, "seq": 0}, "limit": 1}).result
        assert (ended["missed"], len(ended["events"])) == (None, 1) and ended["epoch"] != 1
        error = ask(daemon, transport, "events", {"server": SERVER, "after": {**cursor, "seq": 2**62}}).error
        assert (error["data"]["kind"], error["data"]["sent"]) == ("invalid_params", False)


def test_restart_replaces_the_reader(daemon: Daemon) -> None:
    before, pid = daemon.server(SERVER), daemon.pid(f"reader {SERVER}")
    assert daemon.result("restart", {"server": SERVER}) == {"server": SERVER}
    eventually(lambda: daemon.pid(f"reader {SERVER}") not in (0, None, pid), "another reader")
    eventually(lambda: daemon.wait_up(SERVER)["epoch"] > before["epoch"], "a new epoch")
    assert daemon.action("Ping")["response"]["Ping"] == "Pong"


def test_a_dealer_has_many_requests_open(daemon: Daemon) -> None:
    """Each is answered as soon as it is ready: what amid knows itself does not wait behind what Asterisk is asked."""
    with Dealer(daemon) as dealer:
        for number in range(100):
            dealer.send(f"ping {number}", Action("Ping", {"ActionID": f"mine-{number}"}))
            dealer.request(number, "servers", {})
        replies = dealer.all()
    assert all(replies[f"ping {n}"].result["response"]["ActionID"] == f"mine-{n}" for n in range(100))
    assert all(replies[number].result[0]["name"] == SERVER for number in range(100))


VALUES = {
    "utf-8": "grüß 世界".encode(),
    "latin-1": b"caf\xe9 M\xfcller",
    "colon": b"a: b",
    "trailing blanks": b"blanks  ",
    "punctuation": b"[];,\\\"'",
    "every odd byte": bytes(range(0x80, 0x100)),
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_a_variable_keeps_every_byte(daemon: Daemon, value: bytes, mark: str) -> None:
    """In MessagePack what is not UTF-8 is `bin`, in JSON it is lone surrogates; each codec reads what the other wrote."""
    text = value.decode("utf-8", "surrogateescape")
    packed = text if text.isprintable() else value
    with Dealer(daemon, "msgpack") as pack, Dealer(daemon, "json") as plain:
        for number, (writer, written) in enumerate([(pack, packed), (plain, text), (pack, value)]):
            writer.send(number, Action("Setvar", {"Variable": mark, "Value": written}))
            writer.reply(number).result  # noqa: B018  it is the assertion
            pack.send(f"get {number}", Action("Getvar", {"Variable": mark}))
            plain.send(f"get {number}", Action("Getvar", {"Variable": mark}))
            assert pack.reply(f"get {number}").result["response"]["Value"] == packed
            assert plain.reply(f"get {number}").result["response"]["Value"] == text
            daemon.action("Setvar", {"Variable": mark, "Value": ""})


def test_a_database_value_keeps_every_byte(daemon: Daemon, mark: str) -> None:
    value = b"caf\xe9 \xff"
    request = {"id": 1, "method": "action", "params": {"action": "DBPut", "fields": {"Family": mark, "Key": "k", "Val": value}}}
    with daemon.socket(zmq.REQ) as socket:
        socket.connect(daemon.rpc)
        socket.send(msgpack.packb(request))
        assert socket.poll(int(BOUND_S * 1000)) and "result" in msgpack.unpackb(socket.recv())
    (item,) = daemon.action("DBGet", {"Family": mark, "Key": "k"})["events"]
    assert item["Val"] == "caf\udce9 \udcff" and json.dumps(item["Val"]) == '"caf\\udce9 \\udcff"'
    daemon.action("DBDelTree", {"Family": mark})
