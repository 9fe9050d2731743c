"""Sets of certificates: what is made, by either tool, and what is refused."""

from __future__ import annotations

import importlib.util
import os
import shutil
import ssl
import stat
from pathlib import Path

import pytest

from futures_cluster.wire.transports import certificates
from futures_cluster.wire.transports.certificates import files_in, make_certificates

TOOLS = [
    pytest.param(
        "cryptography",
        marks=pytest.mark.skipif(
            importlib.util.find_spec("cryptography") is None, reason="needs the package cryptography"
        ),
    ),
    pytest.param(
        "openssl", marks=pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the program openssl")
    ),
]


@pytest.fixture(params=TOOLS)
def tool(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "openssl":
        monkeypatch.setattr(certificates.importlib.util, "find_spec", lambda name: None)
    else:
        monkeypatch.setattr(certificates.shutil, "which", lambda name: None)
    return str(request.param)


@pytest.fixture
def nothing_to_make_them_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(certificates.shutil, "which", lambda name: None)


def test_a_set(tool: str, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "set"
    files = make_certificates(str(folder), ["node-1", "*.example.org", "10.0.0.1", "[::1]"])
    assert files == files_in(str(folder))
    assert sorted(os.listdir(folder)) == ["authority.pem", "certificate.pem", "key.pem"]
    assert {stat.S_IMODE(os.stat(folder / name).st_mode) for name in os.listdir(folder)} == {0o600}
    for path in (folder, folder.parent):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o700
    decoded = ssl._ssl._test_decode_cert(files.certificate)  # type: ignore[attr-defined]
    assert decoded["subjectAltName"] == (
        ("DNS", "node-1"),
        ("DNS", "*.example.org"),
        ("IP Address", "10.0.0.1"),
        ("IP Address", "0:0:0:0:0:0:0:1\n" if decoded["subjectAltName"][3][1].endswith("\n") else "0:0:0:0:0:0:0:1"),
    )


@pytest.mark.parametrize(("name", "is_accepted"), [("node-1", True), ("a.example.org", True), ("node-2", False)])
def test_both_sides_accept_it(name: str, is_accepted: bool, tool: str, tmp_path: Path) -> None:
    """As strictly as the standard library can be asked to look."""
    files = make_certificates(str(tmp_path), ["node-1", "*.example.org"])
    contexts = []
    for protocol in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT):
        context = ssl.SSLContext(protocol)
        context.load_verify_locations(files.authority)
        context.load_cert_chain(files.certificate, files.key)
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        contexts.append(context)
    ways = [ssl.MemoryBIO(), ssl.MemoryBIO()]
    server = contexts[0].wrap_bio(ways[0], ways[1], server_side=True)
    client = contexts[1].wrap_bio(ways[1], ways[0], server_hostname=name)

    def shake() -> None:
        for _ in range(4):
            for side in (client, server):
                try:
                    side.do_handshake()
                except ssl.SSLWantReadError:
                    pass

    if is_accepted:
        shake()
        assert client.getpeercert() and server.getpeercert()
    else:
        with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
            shake()


def _public_names(certificate: str) -> list[str]:
    decoded = ssl._ssl._test_decode_cert(certificate)  # type: ignore[attr-defined]
    return [name for _, name in decoded["subjectAltName"]]


def test_an_authority_is_kept_apart_and_signs_more_sets(tool: str, tmp_path: Path) -> None:
    authority = tmp_path / "below" / "authority"
    sets = [make_certificates(str(tmp_path / host), [host], str(authority)) for host in ("node-1", "node-2")]
    assert sorted(os.listdir(authority)) == ["authority-key.pem", "authority.pem"]
    assert {stat.S_IMODE(os.stat(authority / name).st_mode) for name in os.listdir(authority)} == {0o600}
    for path in (authority, authority.parent):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o700
    for files, host in zip(sets, ("node-1", "node-2"), strict=True):
        assert sorted(os.listdir(tmp_path / host)) == ["authority.pem", "certificate.pem", "key.pem"]
        assert Path(files.authority).read_bytes() == (authority / "authority.pem").read_bytes()
        assert _public_names(files.certificate) == [host]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(files.authority)
        context.load_cert_chain(files.certificate, files.key)
    assert Path(sets[0].key).read_bytes() != Path(sets[1].key).read_bytes()


def test_an_authority_whose_key_others_can_read_does_not_sign(tool: str, tmp_path: Path) -> None:
    authority = tmp_path / "authority"
    make_certificates(str(tmp_path / "one"), ["localhost"], str(authority))
    (authority / "authority-key.pem").chmod(0o640)
    with pytest.raises(PermissionError, match=r"authority-key.pem has mode 640: .* Make a new authority"):
        make_certificates(str(tmp_path / "two"), ["localhost"], str(authority))
    assert os.listdir(tmp_path / "two") == []


def test_an_authority_in_the_folder_that_is_copied_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is copied to all machines, and the authority's key must not be"):
        make_certificates(str(tmp_path), ["localhost"], f"{tmp_path}/.")
    assert os.listdir(tmp_path) == []


def test_an_authority_key_among_the_files_of_a_cluster_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("authority.pem", "certificate.pem", "key.pem", "authority-key.pem"):
        (tmp_path / name).touch()
    files_in(str(tmp_path))
    assert "authority-key.pem can make certificates that the whole cluster accepts" in caplog.text


def test_a_set_is_not_overwritten(tool: str, tmp_path: Path) -> None:
    files = make_certificates(str(tmp_path), ["localhost"])
    before = Path(files.key).read_bytes()
    with pytest.raises(FileExistsError, match="remove the set first"):
        make_certificates(str(tmp_path), ["localhost"])
    assert Path(files.key).read_bytes() == before


@pytest.mark.parametrize(
    "host", ["", "a b", "x\nkeyUsage = any", "a,DNS:b", "*.*", "-x", "a/b", "${ENV::HOME}", "x" * 300]
)
def test_what_is_no_host(host: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is neither the name of a host nor an address"):
        make_certificates(str(tmp_path), ["localhost", host])
    assert os.listdir(tmp_path) == []


def test_no_hosts(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="name the hosts"):
        make_certificates(str(tmp_path), [])


def test_without_a_tool(tmp_path: Path, nothing_to_make_them_with: None) -> None:
    with pytest.raises(RuntimeError, match="pip install"):
        make_certificates(str(tmp_path), ["localhost"])
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.name != "posix", reason="needs a shell")
def test_a_tool_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "openssl"
    program.write_text("#!/bin/sh\necho no entropy >&2\nexit 1\n")
    program.chmod(0o700)
    monkeypatch.setattr(certificates.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(certificates.shutil, "which", lambda name: str(program))
    with pytest.raises(RuntimeError, match="openssl req failed:\nno entropy"):
        make_certificates(str(tmp_path / "set"), ["localhost"])
    assert os.listdir(tmp_path / "set") == []


def test_a_folder_without_a_set(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="make a set of certificates"):
        files_in(str(tmp_path))
