"""The configuration file and the files that it names: secrets, keys, TLS files and tokens."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from amid.config import load as configuration
from amid.config.masking import secrets_of, shown
from amid.config.report import ConfigError
from amid.config.tables import Config
from amid.process.settings import recorder_settings
from tests.config.samples import TOKENS, check, one, problems, secret_file, with_key, without_secret
from tests.processes.tls import certificate

# ── secrets ──


def test_a_secret_is_the_first_line_of_a_file_beside_the_configuration(tmp_path: Path) -> None:
    name = secret_file(tmp_path, " ge heim \nmore\n")
    assert check(without_secret(secret_file=name), tmp_path).servers["pbx1"].secret == " ge heim "


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o666])
def test_a_secret_that_everybody_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    wrong = problems(without_secret(secret_file=secret_file(tmp_path, "geheim\n", mode)), tmp_path)
    assert any(problem.startswith("amid.toml: [servers.pbx1] secret_file: ") and "chmod o-r" in problem for problem in wrong)
    assert "geheim" not in str(wrong)


def test_a_group_may_read_a_secret(tmp_path: Path) -> None:
    assert check(without_secret(secret_file=secret_file(tmp_path, "geheim\n", 0o640)), tmp_path).servers["pbx1"].secret == "geheim"


@pytest.mark.parametrize("text", ["", "\n", "\ngeheim\n"], ids=["empty", "an empty line", "an empty first line"])
def test_an_empty_secret_file_is_refused(tmp_path: Path, text: str) -> None:
    (wrong,) = problems(without_secret(secret_file=secret_file(tmp_path, text)), tmp_path)
    assert wrong.endswith("is empty")


def test_a_missing_or_binary_secret_file_is_refused(tmp_path: Path) -> None:
    (wrong,) = problems(without_secret(secret_file="none"), tmp_path)
    assert wrong == f"amid.toml: [servers.pbx1] secret_file: {tmp_path}/none: No such file or directory"
    (tmp_path / "noise").write_bytes(b"\xff\xfe\n")
    (tmp_path / "noise").chmod(0o600)
    (wrong,) = problems(without_secret(secret_file="noise"), tmp_path)
    assert "secret_file" in wrong and "noise" in wrong


def test_a_pipe_without_a_writer_is_refused_without_waiting(tmp_path: Path) -> None:
    """`amid check` hung, and so did the supervisor at SIGHUP."""
    os.mkfifo(tmp_path / "pipe", 0o600)
    (wrong,) = problems(without_secret(secret_file="pipe"), tmp_path)
    assert wrong.startswith(f"amid.toml: [servers.pbx1] secret_file: {tmp_path}/pipe: no data within 1 s")
    with pytest.raises(ConfigError, match="no data within 1 s"):
        configuration.load(tmp_path / "pipe")


def test_a_pipe_that_is_written_to_is_read_to_its_end(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit((tmp_path / "pipe").write_text, "geheim\n")
        assert check(without_secret(secret_file="pipe"), tmp_path).servers["pbx1"].secret == "geheim"
        writing.result()


def test_secret_and_secret_file_exclude_each_other(tmp_path: Path) -> None:
    name = secret_file(tmp_path, "geheim\n")
    (wrong,) = problems(without_secret(secret="geheim", secret_file=name), tmp_path)
    assert wrong == "amid.toml: [servers.pbx1]: has both secret and secret_file; remove one"


def test_secret_key_and_secret_key_file_exclude_each_other(tmp_path: Path) -> None:
    key = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
    wrong = problems({**one(), "curve": {"secret_key": key, "secret_key_file": secret_file(tmp_path, key)}}, tmp_path)
    assert wrong == ["amid.toml: [curve]: has both secret_key and secret_key_file; remove one"]


def test_a_systemd_credential_is_found_by_the_servers_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pbx1.secret").write_text("geheim\n")
    (tmp_path / "pbx1.secret").chmod(0o400)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert check(without_secret()).servers["pbx1"].secret == "geheim"
    (wrong,) = problems({"run_dir": "/run/amid", "servers": {"pbx2": {"host": "h", "username": "u"}}})
    assert "credential named pbx2.secret" in wrong


def test_a_missing_secret_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    (wrong,) = problems(without_secret())
    assert wrong.startswith("amid.toml: [servers.pbx1]: no secret; set secret_file or secret, or provide a systemd credential")


def test_the_shown_configuration_hides_every_secret() -> None:
    config = check({**one(), "curve": {"secret_key": "k" * 40}})
    text = json.dumps(shown(config))
    assert "geheim" not in text and "k" * 40 not in text
    assert shown(config)["servers"]["pbx1"]["secret"] == "***"


@pytest.mark.parametrize(("keys", "directory"), [({}, "/var/lib/pbx/recordings"), ({"directory": "/srv/calls"}, "/srv/calls")])
def test_the_shown_configuration_has_the_directory_of_the_recorder(keys: dict[str, Any], directory: str) -> None:
    config = check({**one(), "state_dir": "/var/lib/pbx", "recorder": keys})
    assert shown(config)["recorder"]["directory"] == recorder_settings(config).directory == directory
    assert shown(check(one()))["recorder"] is None


@pytest.mark.parametrize(("keys", "port"), [({}, 5038), ({"tls": True}, 5039), ({"port": 15038}, 15038)])
def test_the_shown_configuration_has_the_port(keys: dict[str, Any], port: int) -> None:
    assert shown(check(one(**keys)))["servers"]["pbx1"]["port"] == port


# ── TLS and TCP ──


def test_tls_files_without_tls_are_refused(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("")
    wrong = problems(one(tls_ca=str(tmp_path / "ca.pem")))
    assert any("[servers.pbx1] tls: is false, so tls_ca would be unused" in problem for problem in wrong)


def test_a_certificate_needs_its_key(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("")
    wrong = problems(one(tls=True, tls_cert=str(tmp_path / "cert.pem")))
    assert any("tls_cert: must be set together" in problem for problem in wrong)


@pytest.mark.parametrize("where", ["rpc", "servers.pbx1"])
def test_tcp_without_a_key_is_refused(where: str) -> None:
    key = "listen" if where == "rpc" else "events_listen"
    wrong = problems(with_key(where, key, ["tcp://*:5555"]))
    assert any(f"[{where}] {key}: TCP needs a key" in problem for problem in wrong), wrong


@pytest.mark.parametrize("key", ["tls_ca", "tls_key"])
def test_a_file_without_certificate_or_key_is_refused_by_check(tmp_path: Path, key: str) -> None:
    (tmp_path / "noise.pem").write_text("noise\n")
    (tmp_path / "noise.pem").chmod(0o600)
    files = {key: str(tmp_path / "noise.pem")}
    if key != "tls_ca":
        files = {"tls_cert": str(tmp_path / "noise.pem"), "tls_key": str(tmp_path / "noise.pem")}
    (wrong,) = problems(one(tls=True, **files))
    why = "no certificate in PEM" if key == "tls_ca" else "it or the file of tls_cert is not PEM, or the key has a password"
    assert wrong == f"amid.toml: [servers.pbx1] {key}: cannot use {tmp_path}/noise.pem: {why}"


def test_a_key_of_another_certificate_is_refused_by_check(tmp_path: Path) -> None:
    certificate(tmp_path, "own")
    certificate(tmp_path, "other")
    (wrong,) = problems(one(tls=True, tls_cert=str(tmp_path / "own.pem"), tls_key=str(tmp_path / "other.key")))
    assert (
        wrong
        == f"amid.toml: [servers.pbx1] tls_key: cannot use {tmp_path}/other.key: it is not the key of the certificate in tls_cert"
    )


@pytest.mark.parametrize("key", ["tls_ca", "tls_cert", "tls_key"])
def test_a_tls_file_with_a_byte_order_mark_is_refused(tmp_path: Path, key: str) -> None:
    """OpenSSL ignores the certificate after it: the first of two in a tls_ca was silently left out."""
    certificate(tmp_path, "own")
    files = {"tls_ca": "own.pem", "tls_cert": "own.pem", "tls_key": "own.key"}
    marked = tmp_path / f"marked-{key}"
    marked.write_bytes(b"\xef\xbb\xbf" + (tmp_path / files[key]).read_bytes() + (tmp_path / files[key]).read_bytes())
    marked.chmod(0o600)
    wrong = problems(one(tls=True, **{name: str(tmp_path / file) for name, file in files.items()} | {key: str(marked)}))
    said = f"amid.toml: [servers.pbx1] {key}: {marked} begins with a byte-order mark, which OpenSSL cannot read"
    assert any(problem.startswith(said) for problem in wrong), wrong


@pytest.mark.parametrize("key", ["tls_ca", "tls_key"])
def test_a_tls_file_must_be_a_regular_file(tmp_path: Path, key: str) -> None:
    """OpenSSL reads the file again and would block on a pipe."""
    certificate(tmp_path, "own")
    os.mkfifo(tmp_path / "pipe", 0o600)
    files = {"tls_ca": "own.pem", "tls_cert": "own.pem", "tls_key": "own.key", key: "pipe"}
    wrong = problems(one(tls=True, **{name: str(tmp_path / file) for name, file in files.items()}))
    assert f"amid.toml: [servers.pbx1] {key}: {tmp_path}/pipe is not a regular file" in wrong


def test_tls_files_are_beside_the_configuration(tmp_path: Path) -> None:
    certificate(tmp_path, "own")
    secret_file(tmp_path, "geheim\n")
    files = 'tls_ca = "own.pem"\ntls_cert = "own.pem"\ntls_key = "own.key"\n'
    file = tmp_path / "amid.toml"
    file.write_text(f'[servers.pbx1]\nhost = "h"\nusername = "u"\nsecret_file = "secret"\ntls = true\n{files}')
    server = configuration.load(file).servers["pbx1"]
    assert (server.tls_ca, server.tls_key) == (f"{tmp_path}/own.pem", f"{tmp_path}/own.key")
    (tmp_path / "own.key").chmod(0o644)
    with pytest.raises(ConfigError, match=r"tls_key: .*own\.key can be read by everybody"):
        configuration.load(file)


# ── the file ──


def test_a_file_is_read_with_secrets_beside_it(tmp_path: Path) -> None:
    secret_file(tmp_path, "geheim\n")
    file = tmp_path / "amid.toml"
    file.write_text('run_dir = "/run/x"\n[servers.pbx1]\nhost = "h"\nusername = "u"\nsecret_file = "secret"\n')
    config = configuration.load(file)
    assert (config.run_dir, config.servers["pbx1"].secret) == ("/run/x", "geheim")


FILES = {
    "no TOML": (b"[servers", "not TOML"),
    "not UTF-8": (b'run_dir = "\xff"', "not UTF-8 (byte 12 is 0xff)"),
    "a key twice": (b'run_dir = "/a"\n\nrun_dir = "/b"', "amid.toml: line 3: run_dir is already defined above"),
    "a list twice": (b"[rpc]\nlisten = []\nlisten = [\n]", "line 4: the value that ends here is already defined above"),
    "a table twice": (b"[gateway]\n[rpc]\r\n[gateway] # x", "line 3: [gateway] is already defined above"),
    "a table for a value": (b"[servers]\npbx1 = {}\n[servers.pbx1]", "line 3: [servers.pbx1] is already defined above"),
    "an address without quotes": (
        b"[servers.pbx1]\nhost = 127.0.0.1",
        "line 2: the value of host is not a number, true or false; text",
    ),
    "a name without quotes": (b"[servers.pbx1]\r\nhost = pbx # x\r\n", 'true or false; text needs quotes: host = "\u2026"'),
    "a key behind a table": (b"[servers.pbx1]silence = C", "not TOML: Expected newline"),
    "two values": (b"[rpc]\nmax_calls = 5 x = 6", "not TOML: Expected newline"),
    "no value": (b"[rpc]\nmax_calls = ", "not TOML: Invalid value"),
    "a NUL": (b'run_dir = "/a\x00"', "not TOML"),
    "empty": (b"", "no server"),
}


@pytest.mark.parametrize(("data", "said"), FILES.values(), ids=FILES)
def test_an_invalid_file_is_refused_by_name(tmp_path: Path, data: bytes, said: str) -> None:
    file = tmp_path / "amid.toml"
    file.write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        configuration.load(file)
    assert str(caught.value).startswith(f"{file}: ") and said in str(caught.value)


def test_the_error_for_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(ConfigError, match=r"write one .* name it with -c"):
            configuration.load(path)


# ── the bus ──

SEED = "SUANZTDQ4SGB5EURLRE5WCUNAO2FPJ57EWRX7S4A2PJSH4CDDNRHPRNI4A"
CREDENTIALS = (
    "-----BEGIN NATS USER JWT-----\nhead.body.signature\n------END NATS USER JWT------\n\n"
    f"-----BEGIN USER NKEY SEED-----\n{SEED}\n------END USER NKEY SEED------\n"
)


def with_nats(folder: Path, **keys: Any) -> Config:
    for name, text in {"amid.creds": CREDENTIALS, "password": "streng-geheim\n", "empty.creds": "\n"}.items():
        (folder / name).touch(0o600)
        (folder / name).write_text(text)
    return check({"servers": {}, "nats": keys}, folder)


def test_a_bus_with_its_credentials(tmp_path: Path) -> None:
    config = with_nats(tmp_path, servers="tls://nats:4222", credentials_file="amid.creds")
    assert config == with_nats(tmp_path, servers=["tls://nats:4222"], credentials_file="amid.creds")
    assert config.nats is not None and config.nats.credentials_file == str(tmp_path / "amid.creds")
    (tmp_path / "amid.creds").write_text(CREDENTIALS + "renewed\n")
    assert check({"servers": {}, "nats": {"servers": "tls://nats:4222", "credentials_file": "amid.creds"}}, tmp_path) != config


@pytest.mark.parametrize(
    "damaged",
    [
        CREDENTIALS.replace(SEED, SEED[:-8]),
        CREDENTIALS.replace(SEED, SEED.lower()),
        CREDENTIALS.replace("\n", "\r\n"),
        CREDENTIALS.replace("head.body.signature", ""),
        CREDENTIALS[: CREDENTIALS.index(SEED)],
    ],
    ids=["short seed", "lower case", "CRLF", "no JWT", "no seed"],
)
def test_damaged_credentials_of_nats_are_refused(tmp_path: Path, damaged: str) -> None:
    """nats-py would raise an error that ends the bus, at each of its starts."""
    file = tmp_path / "damaged.creds"
    file.touch(0o600)
    file.write_bytes(damaged.encode())
    with pytest.raises(ConfigError, match="holds no JWT and seed of a NATS user"):
        with_nats(tmp_path, credentials_file=file.name)


def test_a_bus_with_a_password(tmp_path: Path) -> None:
    config = with_nats(tmp_path, user="amid", password_file="password")
    assert config.nats is not None and config.nats.password == "streng-geheim"
    assert shown(config)["nats"]["password"] == "***"
    assert "streng-geheim" in secrets_of(config)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"user": "amid"}, r"\[nats\] user: needs password_file"),
        ({"password_file": "password"}, r"\[nats\] user: needs password_file"),
        ({"password": "x"}, r"\[nats\] password: unknown key"),
        ({"credentials_file": "amid.creds", "user": "a", "password_file": "password"}, r"credentials_file: excludes user"),
        ({"credentials_file": "empty.creds"}, r"credentials_file: .* holds no JWT and seed"),
        ({"credentials_file": "none.creds"}, r"\[nats\] credentials_file: "),
        ({"tls_cert": "x.pem"}, r"\[nats\] tls_cert: needs tls_key"),
    ],
)
def test_a_bus_that_is_not_right(tmp_path: Path, keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        with_nats(tmp_path, **keys)


# ── the gateway ──


def with_gateway(folder: Path, tokens: str | None = TOKENS, mode: int = 0o600, **keys: Any) -> Config:
    if tokens is not None:
        (folder / "tokens.toml").write_text(tokens)
        (folder / "tokens.toml").chmod(mode)
        keys.setdefault("tokens_file", "tokens.toml")
    return check({"servers": {}, "gateway": keys}, folder)


def test_a_gateway_reads_its_tokens(tmp_path: Path) -> None:
    config = with_gateway(tmp_path, listen="[::1]:8088")
    assert config == with_gateway(tmp_path, listen=["[::1]:8088"])
    assert config.gateway is not None and config.gateway.tokens["crm"].token == "0123456789abcdefghij"
    assert shown(config)["gateway"]["tokens"]["crm"]["token"] == "***"
    assert check({"servers": {}}, tmp_path).gateway is None


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"tokens": None}, "no client could use it: set tokens_file"),
        ({"tokens": ""}, "has no table"),
        ({"tokens": "[a"}, "tokens.toml: "),
        ({"tokens": '[a]\ntoken = "short"'}, r"\[a\] token: "),
        ({"tokens": '[a]\ntoken = "0123456789abcdefghi j"'}, r"\[a\] token: must be 20 to 200 letters"),
        ({"tokens": '[a]\ntoken = "0123456789abcdefghij"\nalow = []'}, "did you mean 'allow'"),
        ({"tokens": TOKENS + TOKENS.replace("crm", "other")}, r"\[other\] token: is already used in \[crm\]"),
        ({"tokens": TOKENS.replace("crm", "c" * 65)}, "a token's name is 1 to 64 characters"),
        ({"tokens": TOKENS.replace("crm", '""')}, "a token's name is 1 to 64 characters"),
        ({"mode": 0o644}, "can be read by everybody"),
        ({"listen": "8088"}, r"\[gateway\] listen: must be"),
        ({"listen": ["127.0.0.1:8088", "[::1]"]}, r"\[gateway\] listen: must be"),
        ({"listen": []}, r"\[gateway\] listen: must be"),
        ({"hosts": ["pbx.example.com:8088"]}, r"\[gateway\] hosts: must be"),
        ({"origins": ["crm.example.com"]}, r"\[gateway\] origins: must be"),
        ({"port": 80}, "unknown key"),
    ],
)
def test_an_invalid_gateway_is_refused(tmp_path: Path, keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        with_gateway(tmp_path, **keys)
