"""What a process needs for an address: a secret, certificates, or a word that it goes without."""

from __future__ import annotations

import logging
import secrets
from pathlib import Path

import pytest

from futures_cluster import config
from futures_cluster.errors import AuthenticationError, InvalidSecret, SecretMissing
from futures_cluster.executor import Executor
from futures_cluster.services.common import security
from futures_cluster.wire.transports.registry import NO_SECURITY, Security, TlsFiles

NETWORK = ["tcp://127.0.0.1:1", "tcp://example.org:1", "tcp://[::1]:1"]
GOOD = secrets.token_hex(16)


@pytest.fixture(autouse=True)
def nothing_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a user who has no secret."""
    for name in (config.SECRET_VARIABLE, config.CERTIFICATES_VARIABLE, config.INSECURE_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    for name in ("authority.pem", "certificate.pem", "key.pem"):
        (tmp_path / name).touch(0o600)
    return tmp_path


@pytest.mark.parametrize("address", NETWORK)
def test_a_connector_needs_a_secret_for_a_network_address(address: str) -> None:
    with pytest.raises(SecretMissing, match=rf"needs a secret.*{config.SECRET_VARIABLE}.*--insecure"):
        security.find(address)
    with pytest.raises(SecretMissing):
        Executor(backend=address)


def test_a_scheduler_makes_one_that_the_others_of_its_user_find() -> None:
    made = security.find(NETWORK[0], is_scheduler=True)
    assert made.secret and not made.insecure
    assert security.find(NETWORK[0]) == made


def test_a_unix_socket_needs_none() -> None:
    assert security.find("unix:///folder/s") == NO_SECURITY
    assert security.find("unix:///folder/s", is_scheduler=True) == NO_SECURITY


def test_certificates_are_enough(certificates: Path) -> None:
    with pytest.raises(FileNotFoundError, match="needs certificates"):
        security.find("tls://127.0.0.1:1")
    found = security.find("tls://127.0.0.1:1", str(certificates))
    assert found.tls is not None and found.secret is None


@pytest.mark.parametrize("by_variable", [True, False])
def test_insecure_uses_no_secret_and_says_so(
    by_variable: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    security.find(NETWORK[0], is_scheduler=True)  # there is one
    if by_variable:
        monkeypatch.setenv(config.INSECURE_VARIABLE, "1")
    with caplog.at_level(logging.WARNING, "futures_cluster.wire"):
        for is_scheduler in (True, False):
            found = security.find(NETWORK[0], is_scheduler=is_scheduler, insecure=not by_variable)
            assert found == Security(insecure=True)
    assert caplog.text.count("any process that can reach it can run code") == 2


def test_a_secret_and_insecure_contradict_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(config.SECRET_VARIABLE, GOOD)
    with pytest.raises(AuthenticationError, match="drop one of the two"):
        security.find(NETWORK[0], insecure=True)
    with pytest.raises(AuthenticationError, match="drop one of the two"):
        Executor(backend=NETWORK[0], insecure=True)


@pytest.mark.parametrize("value", ["yes", "2", "true"])
def test_what_is_neither_secure_nor_insecure(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(config.INSECURE_VARIABLE, value)
    with pytest.raises(ValueError, match="FUTURES_CLUSTER_INSECURE must be 0, 1 or empty"):
        security.find(NETWORK[0])
    with pytest.raises(TypeError, match="insecure must be True or False, got 'yes'"):
        Executor(1, insecure="yes")  # type: ignore[arg-type]


def test_a_weak_secret_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(config.SECRET_VARIABLE, "abcd")
    for is_scheduler in (True, False):
        with pytest.raises(InvalidSecret, match="too short"):
            security.find(NETWORK[0], is_scheduler=is_scheduler)


def test_each_peer_is_shown_what_its_address_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    own = Security(b"a secret", TlsFiles("a", "b", "c"))
    assert security.at("unix:///folder/s", own) == NO_SECURITY
    for address in (*NETWORK, "tls://127.0.0.1:1"):
        assert security.at(address, own) == own
    # It came to its scheduler by a unix socket, and its peer by the network.
    assert security.at("unix:///folder/s", NO_SECURITY) == NO_SECURITY
    with pytest.raises(SecretMissing):
        security.at(NETWORK[0], NO_SECURITY)
    monkeypatch.setenv(config.SECRET_VARIABLE, GOOD)
    assert security.at(NETWORK[0], NO_SECURITY) == Security(GOOD.encode())


def test_where_the_secret_is_said_to_be(certificates: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private, tls = security.find("unix:///x"), security.find("tls://127.0.0.1:1", str(certificates))
    open_ = security.find(NETWORK[0], insecure=True)
    assert security.describe([private]) == "none: only processes of this user and of root can connect"
    assert security.describe([private, tls]) == "none: certificates are asked for"
    assert security.describe([private, tls, open_]).startswith("none (--insecure): any process")
    made = security.find(NETWORK[0], is_scheduler=True)
    assert security.describe([private, made]).endswith("futures_cluster/secret")
    monkeypatch.setenv(config.SECRET_VARIABLE, GOOD)
    assert security.describe([private, made]) == "from FUTURES_CLUSTER_SECRET"
