"""Certificates for ``tls://`` in a trusted network: one private authority, and one certificate for all machines.

Covers: making the set, by the package ``cryptography`` (the extra ``tls``) or else by the program ``openssl``.
Does not cover: using it (``tls``), revoking, or an authority that exists already: any set in the same format will do.

The folder of the set is copied to each machine. The authority's key is never in it: any process that has that key can
make certificates for all names. It is deleted, or kept in a folder of its own to make more sets.
"""

from __future__ import annotations

import datetime
import importlib.util
import ipaddress
import logging
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from futures_cluster.wire.private_files import check_is_private, make_private_folder
from futures_cluster.wire.transports.registry import TlsFiles

log = logging.getLogger("futures_cluster.wire")

VALID_DAYS = 3650
AUTHORITY, AUTHORITY_KEY = "authority.pem", "authority-key.pem"
CERTIFICATE, KEY = "certificate.pem", "key.pem"
_SET = (AUTHORITY, CERTIFICATE, KEY)
_AUTHORITY_NAME, _OUR_NAME = "futures_cluster authority", "futures_cluster"


def files_in(folder: str) -> TlsFiles:
    """Return the paths of a set that ``make_certificates`` has made in this folder.

    Raises
    ------
    FileNotFoundError
        When there is none.
    """
    files = TlsFiles(*(os.path.join(folder, name) for name in _SET))
    for path in files:
        if not os.path.exists(path):
            raise FileNotFoundError(
                f"{path} is not there; make a set of certificates with `futures-cluster certificates`"
            )
    if os.path.exists(stray := os.path.join(folder, AUTHORITY_KEY)):
        log.warning(
            "%s can make certificates that the whole cluster accepts, and workers and clients do not need it: keep it "
            "on one machine, in a folder of its own, or delete it",
            stray,
        )
    return files


def make_certificates(folder: str, hosts: Sequence[str], authority: str | None = None) -> TlsFiles:
    """Make a certificate for hosts, and the authority that signs it.

    Parameters
    ----------
    folder : str
        The set, for all machines of the cluster. Made if it does not exist, with mode 0700.
    hosts : sequence of str
        All names and addresses by which machines will connect to each other; ``*.example.org`` stands for many.
    authority : str or None
        Folder of the authority with its key. A new authority is put there if there is none, and the one that is there
        signs otherwise: so sets for more machines can be made later. Not given: the key of a new authority is deleted
        once it has signed, and no further certificate can be made.

    Returns
    -------
    TlsFiles
        Paths of the set's files.

    Raises
    ------
    ValueError
        For a host that is neither a name nor an address, and for an authority in the folder of the set.
    FileExistsError
        When the folder has certificates already.
    PermissionError
        When others can read the authority's key.
    RuntimeError
        When there is nothing to make them with.
    """
    if not hosts:
        raise ValueError("name the hosts that the certificate is for, such as 'localhost' and '127.0.0.1'")
    names = [_check(host) for host in hosts]
    if authority is not None and os.path.realpath(authority) == os.path.realpath(folder):
        raise ValueError(
            f"{folder} is copied to all machines, and the authority's key must not be; name another folder for it"
        )
    make_private_folder(folder)
    for name in (*_SET, AUTHORITY_KEY):
        if os.path.exists(os.path.join(folder, name)):
            raise FileExistsError(
                f"{os.path.join(folder, name)} exists; remove the set first if all machines are to get a new one"
            )
    maker = _find_maker()
    with tempfile.TemporaryDirectory(dir=folder) as draft:  # of mode 0700
        signer = draft
        if authority is not None and os.path.exists(key := os.path.join(authority, AUTHORITY_KEY)):
            check_is_private(key, os.stat(key), "Make a new authority in another folder, and new sets by it")
            signer = authority
        else:
            maker.make_authority(draft)
        maker.sign(draft, signer, names)
        if authority is not None and signer == draft:
            make_private_folder(authority)
            for name in (AUTHORITY, AUTHORITY_KEY):
                _put(os.path.join(draft, name), os.path.join(authority, name))
        for source, name in ((signer, AUTHORITY), (draft, CERTIFICATE), (draft, KEY)):
            _put(os.path.join(source, name), os.path.join(folder, name))
    return files_in(folder)


def _put(source: str, target: str) -> None:
    """Copy a file to a place where there is none, with mode 0600."""
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(fd, "wb") as copy:
        copy.write(Path(source).read_bytes())


def _find_maker() -> Any:
    if importlib.util.find_spec("cryptography") is not None:
        return _Cryptography()
    if (program := shutil.which("openssl")) is not None:
        return _Openssl(program)
    raise RuntimeError(
        "certificates are made by the package cryptography or the program openssl, and neither is installed: "
        "pip install 'futures-cluster[tls]'"
    )


def _check(host: str) -> str | ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        pass
    if re.fullmatch(r"(\*\.)?[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9])?", host) is None or len(host) > 253:
        raise ValueError(f"{host!r} is neither the name of a host nor an address")
    return host


# ---------------------------------------------------------------- by the package cryptography


class _Cryptography:
    """Makes certificates by the package."""

    def make_authority(self, folder: str) -> None:
        """Write a new authority's certificate and key."""
        from cryptography import x509

        extensions = [
            (x509.BasicConstraints(ca=True, path_length=0), True),
            (self._usage("key_cert_sign", "crl_sign"), True),
        ]
        self._make(folder, AUTHORITY, AUTHORITY_KEY, None, extensions)

    def sign(self, folder: str, authority: str, hosts: Sequence[Any]) -> None:
        """Write a certificate and its key, signed by an authority."""
        from cryptography import x509
        from cryptography.hazmat.primitives import serialization
        from cryptography.x509.oid import ExtendedKeyUsageOID

        authority_key: Any = serialization.load_pem_private_key(Path(authority, AUTHORITY_KEY).read_bytes(), None)
        alternatives = [x509.DNSName(host) if isinstance(host, str) else x509.IPAddress(host) for host in hosts]
        extensions = [
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (self._usage("digital_signature"), True),
            (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), False),
            (x509.SubjectAlternativeName(alternatives), False),
        ]
        self._make(folder, CERTIFICATE, KEY, authority_key, extensions)

    def _make(
        self, folder: str, name: str, key_name: str, authority_key: Any, extensions: Sequence[tuple[Any, bool]]
    ) -> None:
        """Write a certificate and a new key, which signs it itself if there is no other.

        ``extensions``: besides the names of both keys; each with whether it is critical.
        """
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import NameOID

        key = ec.generate_private_key(ec.SECP256R1())
        signer = key if authority_key is None else authority_key
        subject = _AUTHORITY_NAME if authority_key is None else _OUR_NAME
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _AUTHORITY_NAME)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))  # clocks differ
            .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(issuer, critical=False)
        )
        for extension, is_critical in extensions:
            builder = builder.add_extension(extension, is_critical)
        pem = serialization.Encoding.PEM
        private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        Path(folder, name).write_bytes(builder.sign(signer, hashes.SHA256()).public_bytes(pem))
        Path(folder, key_name).write_bytes(private)

    def _usage(self, *allowed: str) -> Any:
        from cryptography import x509

        names = (
            "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign "
            "crl_sign encipher_only decipher_only"
        )
        return x509.KeyUsage(**{name: name in allowed for name in names.split()})


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
_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


class _Openssl:
    """Makes certificates by the program."""

    def __init__(self, program: str) -> None:
        self._program = program

    def make_authority(self, folder: str) -> None:
        """See ``_Cryptography``."""
        settings = self._configure(folder, _AUTHORITY_NAME, "DNS:none")
        self._run(
            folder,
            *("req", "-x509", "-config", settings, "-extensions", "authority", "-sha256", "-days", str(VALID_DAYS)),
            *(*_NEW_KEY, "-keyout", AUTHORITY_KEY, "-out", AUTHORITY),
        )

    def sign(self, folder: str, authority: str, hosts: Sequence[Any]) -> None:
        """See ``_Cryptography``."""
        alternatives = ", ".join(f"DNS:{host}" if isinstance(host, str) else f"IP:{host}" for host in hosts)
        settings = self._configure(folder, _OUR_NAME, alternatives)
        signer, signer_key = (os.path.abspath(os.path.join(authority, name)) for name in (AUTHORITY, AUTHORITY_KEY))
        self._run(folder, "req", "-new", "-config", settings, *_NEW_KEY, "-keyout", KEY, "-out", "request.pem")
        self._run(
            folder,
            *("x509", "-req", "-in", "request.pem", "-CA", signer, "-CAkey", signer_key, "-sha256"),
            *("-days", str(VALID_DAYS), "-set_serial", f"0x{os.urandom(16).hex()}"),
            *("-extfile", settings, "-extensions", "ours", "-out", CERTIFICATE),
        )

    def _configure(self, folder: str, name: str, alternatives: str) -> str:
        path = Path(folder, f"{name}.cnf").absolute()
        path.write_text(_CONFIGURATION.format(name=name, alternatives=alternatives), encoding="utf-8")
        return str(path)

    def _run(self, folder: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._program, *arguments], cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        if done.returncode:
            raise RuntimeError(f"openssl {arguments[0]} failed:\n{done.stderr}")
