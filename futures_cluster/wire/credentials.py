"""The secret that the processes of one cluster share: where it is found, and how it is made.

Covers: the environment variable and the file of this user, secrets that are too weak. Does not cover: proving it
(``handshake``), certificates (``certificates``).

The first that there is: ``FUTURES_CLUSTER_SECRET``, then the file ``futures_cluster/secret`` in the user's
configuration folder. The scheduler makes the file if there is neither; clients and workers of the same user find it.

An eavesdropper can try secrets against a recorded handshake, as fast as all his machines compute. So a secret has at
least 128 bits.
"""

from __future__ import annotations

import contextlib
import math
import os
import secrets
import string

from futures_cluster import config
from futures_cluster.errors import InvalidSecret
from futures_cluster.wire.private_files import check_is_file, check_is_private, make_private_folder

_NAME = "secret"
_RANDOM_BYTES = 32
_MAX_BYTES = 4096
#: What a secret must have at least.
MIN_BITS = 128
#: The characters that common generators draw from; the first that has all of a secret's says what each is worth.
_ALPHABETS = (
    string.digits,
    string.hexdigits.lower(),
    string.hexdigits.upper(),
    string.ascii_letters + string.digits + "+/-_=",
    string.printable,
)
_MAKE_ONE = "make it by: openssl rand -hex 32"
_INSTEAD = f"set {config.SECRET_VARIABLE} instead, and {_MAKE_ONE}"
_THE_SCHEDULERS = f"let this user read it, or set {config.SECRET_VARIABLE} to the text of the scheduler's secret"
_MOVE = "Move it elsewhere and restart the scheduler, which makes a file with a new secret there"
_REMOVE = "Remove the file and restart the scheduler, which makes a new one"


def secret_path() -> str:
    """Return where the file with this user's secret is, or would be."""
    return os.path.join(config.user_folder(), _NAME)


def find_secret(remedy: str = _THE_SCHEDULERS) -> bytes | None:
    """Return the secret; None if there is none.

    ``remedy``: what to do about a file that cannot be read.

    Raises
    ------
    PermissionError
        When it is not a file, or others than this user can read or change it.
    InvalidSecret
        When this user cannot read it, or it is no text, or too short to be safe.
    """
    told = config.secret_of_environment()
    if told is not None:
        return _check(told.encode("utf-8", "surrogateescape"), config.SECRET_VARIABLE, f"Set another: {_MAKE_ONE}")
    try:
        return _read(secret_path(), remedy)
    except (FileNotFoundError, NotADirectoryError):
        return None


def find_or_make_secret() -> bytes:
    """Return the secret; a new one is put into the file if there is none.

    Raises
    ------
    PermissionError, InvalidSecret
        See ``find_secret``.
    OSError
        When the file cannot be written.
    """
    found = find_secret(_INSTEAD)
    if found is not None:
        return found
    path = secret_path()
    try:
        _make(path)
    except OSError as error:
        raise OSError(f"cannot put a new secret into {path} ({error}); {_INSTEAD}") from error
    return _read(path, _INSTEAD)


def _make(path: str) -> None:
    make_private_folder(os.path.dirname(path))
    # Complete before it has its name: a client that starts now finds all of it or nothing.
    draft = f"{path}.{os.getpid()}.{secrets.token_hex(4)}"
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(fd, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(_RANDOM_BYTES) + "\n")
        with contextlib.suppress(FileExistsError):  # another scheduler was faster: both take the same
            os.link(draft, path)
    finally:
        os.unlink(draft)


def _read(path: str, remedy: str) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a FIFO must not keep us
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise InvalidSecret(f"cannot read the secret in {path} ({error.strerror}); {remedy}") from error
    try:
        status = os.fstat(fd)
        check_is_file(path, status, _MOVE)
        check_is_private(path, status, _REMOVE)
        content = os.read(fd, _MAX_BYTES + 1)
    finally:
        os.close(fd)
    if len(content) > _MAX_BYTES:
        raise InvalidSecret(f"{path} has more than {_MAX_BYTES} bytes and is not a secret. {_REMOVE}")
    content = content.strip()
    if not content:
        raise InvalidSecret(f"{path} is empty; remove it, and the scheduler makes a new one")
    return _check(content, path, _REMOVE)


def _check(secret: bytes, source: str, remedy: str) -> bytes:
    """Refuse a secret that is no text, or that can be guessed."""
    try:
        text = secret.decode()
    except UnicodeDecodeError:
        raise InvalidSecret(f"the secret in {source} is not UTF-8 text. {remedy}") from None
    bits = bits_of(text)
    if bits < MIN_BITS:
        raise InvalidSecret(
            f"the secret in {source} is too short: it has at most {bits} bits, and an eavesdropper can try all such "
            f"secrets against a recorded handshake; {MIN_BITS} bits are needed. {remedy}"
        )
    return secret


def bits_of(text: str) -> int:
    """Return the most bits that a random text of these characters can have.

    Examples
    --------
    >>> bits_of("0123456789abcdef" * 2), bits_of("swordfish")
    (128, 54)
    """
    for alphabet in _ALPHABETS:
        if all(character in alphabet for character in text):
            return int(len(text) * math.log2(len(set(alphabet))))
    return 8 * len(text.encode())
