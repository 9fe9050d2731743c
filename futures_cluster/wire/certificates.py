"""Certificates for ``tls://`` in a trusted network: one private authority, and one certificate for all machines.

Covers: making the set, by the package ``cryptography`` (the extra ``tls``) or else by the program ``openssl``.
Does not cover: using it (``tls``), revoking, or an authority that exists already: any set in the same format will do.

The set is made once, and its folder is copied to each machine; the authority's key is only needed to make more.
"""

from __future__ import annotations

import datetime
import importlib.util
import ipaddress
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from typing import Any

from futures_cluster.wire.transports import TlsFiles

VALID_DAYS = 3650
AUTHORITY, AUTHORITY_KEY = "authority.pem", "authority-key.pem"
CERTIFICATE, KEY = "certificate.pem", "key.pem"
_NAMES = (AUTHORITY, AUTHORITY_KEY, CERTIFICATE, KEY)
_AUTHORITY_NAME, _OUR_NAME = "futures_cluster authority", "futures_cluster"


def files_in(folder: str) -> TlsFiles:
    """The paths of a set that ``make_certificates`` has made in this folder.

    Raises
    ------
    FileNotFoundError
        When there is none.
    """
    files = TlsFiles(*(os.path.join(folder, name) for name in (AUTHORITY, CERTIFICATE, KEY)))
    for path in (files.authority, files.certificate, files.key):
        if not os.path.exists(path):
            raise FileNotFoundError(
                f"{path} is not there; make a set of certificates with `futures-cluster certificates`"
            )
    return files


def make_certificates(folder: str, hosts: Sequence[str]) -> TlsFiles:
    """Make an authority and a certificate for these hosts; all files have mode 0600.

    Parameters
    ----------
    folder : str
        Made if it does not exist, with mode 0700.
    hosts : sequence of str
        All names and addresses by which machines will connect to each other; ``*.example.org`` stands for many.

    Raises
    ------
    ValueError
        For a host that is neither a name nor an address.
    FileExistsError
        When the folder has certificates already.
    RuntimeError
        When there is nothing to make them with.
    """
    if not hosts:
        raise ValueError("name the hosts that the certificate is for, such as 'localhost' and '127.0.0.1'")
    names = [_check(host) for host in hosts]
    os.makedirs(folder, mode=0o700, exist_ok=True)
    for name in _NAMES:
        if os.path.exists(os.path.join(folder, name)):
            raise FileExistsError(
                f"{os.path.join(folder, name)} exists; remove the set first if all machines are to get a new one"
            )
    with tempfile.TemporaryDirectory(dir=folder) as draft:  # of mode 0700
        if importlib.util.find_spec("cryptography") is not None:
            _make_by_cryptography(draft, names)
        elif (program := shutil.which("openssl")) is not None:
            _make_by_openssl(program, draft, names)
        else:
            raise RuntimeError(
                "certificates are made by the package cryptography or the program openssl, and neither is installed: "
                "pip install 'futures-cluster[tls]'"
            )
        for name in _NAMES:
            os.chmod(os.path.join(draft, name), 0o600)
            os.rename(os.path.join(draft, name), os.path.join(folder, name))
    return files_in(folder)


def _check(host: str) -> str | ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        pass
    if re.fullmatch(r"(\*\.)?[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9])?", host) is None or len(host) > 253:
        raise ValueError(f"{host!r} is neither the name of a host nor an address")
    return host


# ---------------------------------------------------------------- by the package cryptography


def _make_by_cryptography(folder: str, hosts: Sequence[Any]) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    now = datetime.datetime.now(datetime.UTC)

    def begin(name: str, issuer: str, key: Any) -> Any:
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))  # clocks differ
            .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
            )
        )

    def usage(signs: bool) -> Any:
        names = (
            "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign "
            "crl_sign encipher_only decipher_only"
        )
        allowed = ("key_cert_sign", "crl_sign") if signs else ("digital_signature",)
        return x509.KeyUsage(**{name: name in allowed for name in names.split()})

    def write(name: str, content: bytes) -> None:
        fd = os.open(os.path.join(folder, name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(fd, "wb") as file:
            file.write(content)

    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = (
        begin(_AUTHORITY_NAME, _AUTHORITY_NAME, authority_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage(signs=True), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    alternatives = [x509.DNSName(host) if isinstance(host, str) else x509.IPAddress(host) for host in hosts]
    certificate = (
        begin(_OUR_NAME, _AUTHORITY_NAME, key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage(signs=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    for name, made in ((AUTHORITY, authority), (CERTIFICATE, certificate)):
        write(name, made.public_bytes(serialization.Encoding.PEM))
    for name, made_key in ((AUTHORITY_KEY, authority_key), (KEY, key)):
        write(
            name,
            made_key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
        )


# ---------------------------------------------------------------- by the program openssl

_CONFIGURATION = """\
[req]
distinguished_name = name
prompt = no
[name]
CN = {name}
[authority]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[ours]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = {alternatives}
"""


def _make_by_openssl(program: str, folder: str, hosts: Sequence[Any]) -> None:
    alternatives = ", ".join(f"DNS:{host}" if isinstance(host, str) else f"IP:{host}" for host in hosts)

    def configuration(name: str) -> str:
        path = os.path.join(folder, f"{name}.cnf")
        with open(path, "w", encoding="utf-8") as file:
            file.write(_CONFIGURATION.format(name=name, alternatives=alternatives))
        return path

    def run(*arguments: str) -> None:
        done = subprocess.run(
            [program, *arguments], cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        if done.returncode:
            raise RuntimeError(f"openssl {arguments[0]} failed:\n{done.stderr}")

    days = str(VALID_DAYS)
    authority, ours = configuration(_AUTHORITY_NAME), configuration(_OUR_NAME)
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    run(
        *("req", "-x509", "-config", authority, "-extensions", "authority", "-sha256", "-days", days, *new_key),
        *("-keyout", AUTHORITY_KEY, "-out", AUTHORITY),
    )
    run("req", "-new", "-config", ours, *new_key, "-keyout", KEY, "-out", "request.pem")
    run(
        *("x509", "-req", "-in", "request.pem", "-CA", AUTHORITY, "-CAkey", AUTHORITY_KEY, "-sha256", "-days", days),
        *("-set_serial", f"0x{os.urandom(16).hex()}", "-extfile", ours, "-extensions", "ours", "-out", CERTIFICATE),
    )
