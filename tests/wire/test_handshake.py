"""The handshake: however bytes are cut, whoever lies, and whatever garbage comes."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from futures_cluster.errors import AuthenticationError, HandshakeError, VersionMismatch
from futures_cluster.wire import audience, handshake
from futures_cluster.wire.handshake import Acceptor, Connector, Handshake

NONCES = (b"1" * 32, b"2" * 32)
HOSTS = (b"host one" * 4, b"host two" * 4)


def pair(
    ours: bytes | None = b"secret", theirs: bytes | None = b"secret", hosts: tuple[bytes, bytes] = HOSTS
) -> tuple[Connector, Acceptor]:
    return Connector(ours, NONCES[0], hosts[0]), Acceptor(theirs, NONCES[1], hosts[1])


Cut = Callable[[bytes], list[bytes]]


def whole(data: bytes) -> list[bytes]:
    return [data] if data else []


def one_by_one(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def talk(one: Handshake, two: Handshake, cut: Cut = whole) -> list[bytes]:
    """Hand everything over until nothing is left to say; what was said."""
    said = []
    from_one, from_two = one.start(), two.start()
    while from_one or from_two:
        said += [part for part in (from_one, from_two) if part]
        next_one, next_two = b"", b""
        for part in cut(from_one):
            next_two += two.receive(part)
        for part in cut(from_two):
            next_one += one.receive(part)
        from_one, from_two = next_one, next_two
    return said


@pytest.mark.parametrize("cut", [whole, one_by_one])
@pytest.mark.parametrize("secret", [b"secret", None])
def test_two_that_agree(secret: bytes | None, cut: Cut) -> None:
    one, two = pair(secret, secret)
    said = talk(one, two, cut)
    assert one.done and two.done
    assert one.error is None and two.error is None
    assert [len(part) for part in said] == [108, 76, 44, 44]
    assert max(map(len, said)) <= handshake.MAX_BYTES
    assert one.left_over == two.left_over == b""
    if secret is not None:
        assert not any(secret in part for part in said)


@pytest.mark.parametrize(
    ("hosts", "same"), [(HOSTS, False), ((HOSTS[0], HOSTS[0]), True), ((handshake.NO_HOST, handshake.NO_HOST), False)]
)
def test_the_same_host(hosts: tuple[bytes, bytes], same: bool) -> None:
    one, two = pair(hosts=hosts)
    talk(one, two)
    assert one.same_host is two.same_host is same


@pytest.mark.parametrize("cut", [whole, one_by_one])
@pytest.mark.parametrize(
    ("ours", "theirs", "told", "logged"),
    [
        (b"secret", b"other", "the listener has another secret", "it has another secret"),
        (None, b"secret", "the listener wants a secret", "it has no secret"),
        (b"secret", None, "the listener has no secret", "it has a secret, and there is none here"),
    ],
)
def test_two_that_do_not(ours: bytes | None, theirs: bytes | None, told: str, logged: str, cut: Cut) -> None:
    one, two = pair(ours, theirs)
    talk(one, two, cut)
    assert not one.done and not two.done
    assert type(one.error) is AuthenticationError and told in str(one.error)
    assert "FUTURES_CLUSTER_SECRET" in str(one.error)  # what to do
    assert type(two.error) is AuthenticationError and logged in str(two.error)


def test_a_connector_that_was_told_to_use_no_secret_is_told_so() -> None:
    _, two = pair(b"secret", b"secret")
    one = handshake.Connector(None, bytes(32), insecure=True)
    talk(one, two)
    assert "set to use none: drop --insecure" in str(one.error) and "there is none here" not in str(one.error)


def test_what_follows_is_left_over() -> None:
    one, two = pair()
    welcome = two.receive(one.receive(two.receive(one.start())))
    assert one.receive(welcome + b"the first") == b""
    assert one.receive(b" frame") == b""
    assert one.left_over == b"the first frame"
    assert two.receive(b"as well") == b""
    assert two.left_over == b"as well"


def test_a_connector_that_does_not_wait_for_an_answer_is_refused() -> None:
    one, two = pair()
    two.receive(one.start() + b"x")
    assert not two.done and "more came than was asked for" in str(two.error)


@pytest.mark.parametrize(("version", "word"), [(0, "older"), (3, "newer"), (65535, "newer")])
def test_other_versions(version: int, word: str) -> None:
    head = handshake.MAGIC + struct.pack("<H", version)
    one, two = pair()
    refusal = two.receive(head)  # as soon as it is known, and whatever layout theirs has
    assert type(two.error) is VersionMismatch and word in str(two.error)
    one.start()
    assert one.receive(head + refusal[10:]) == b""
    assert type(one.error) is VersionMismatch and "install the same version" in str(one.error)


def test_a_refusal_of_our_version_is_understood() -> None:
    one, two = pair()
    opening = one.start()
    refusal = two.receive(handshake.MAGIC + b"\x07\x00" + opening[10:])
    assert len(refusal) == 12
    one.receive(refusal)
    assert one.error is not None


# ---------------------------------------------------------------- the audience, and the keys

HERE, THERE = b"h" * 32, b"t" * 32


@pytest.mark.parametrize("answers_to", [frozenset(), frozenset([HERE]), frozenset([HERE, THERE])])
def test_a_listener_that_is_meant(answers_to: frozenset[bytes]) -> None:
    one, two = Connector(b"x", NONCES[0], audience=HERE), Acceptor(b"x", NONCES[1], audiences=answers_to)
    talk(one, two)
    assert one.done and two.done


@pytest.mark.parametrize("meant", [HERE, audience.UNBOUND])
def test_a_listener_that_is_not_meant(meant: bytes) -> None:
    one, two = Connector(b"x", NONCES[0], audience=meant), Acceptor(b"x", NONCES[1], audiences=frozenset([THERE]))
    talk(one, two)
    assert not one.done and not two.done
    assert type(one.error) is type(two.error) is AuthenticationError
    assert "is not the one that was meant" in str(one.error) and "#node-1:8786" in str(one.error)  # what to do
    assert "it means another listener" in str(two.error)


def test_without_a_secret_nobody_is_meant() -> None:
    one, two = Connector(None, NONCES[0], audience=HERE), Acceptor(None, NONCES[1], audiences=frozenset([THERE]))
    talk(one, two)
    assert one.done and two.done


def test_a_listener_without_room() -> None:
    one, _ = pair()
    one.start()
    one.receive(handshake.busy())
    assert type(one.error) is handshake.ListenerBusy


@pytest.mark.parametrize("cut", [whole, one_by_one])
def test_a_listener_whose_room_was_taken_meanwhile(cut: Cut) -> None:
    """The refusal comes together with the challenge."""
    one, two = pair()
    for part in cut(two.receive(one.start()) + handshake.busy()):
        one.receive(part)
    assert type(one.error) is handshake.ListenerBusy


def test_both_sides_have_the_keys_of_their_session() -> None:
    one, two = pair()
    assert one.session_keys() is None  # not yet
    talk(one, two)
    keys = one.session_keys()
    assert keys is not None and two.session_keys() == keys[::-1]
    others = [Connector(b"secret", b"3" * 32, HOSTS[0]), Connector(b"other", *NONCES[:1], HOSTS[0])]
    found = {*keys}
    for other, secret in zip(others, (b"secret", b"other"), strict=True):
        talk(other, Acceptor(secret, NONCES[1], HOSTS[1]))
        found |= {*(other.session_keys() or ())}
    assert len(found) == 6 and {len(key) for key in found} == {32}


def test_without_a_secret_there_are_no_keys() -> None:
    one, two = pair(None, None)
    talk(one, two)
    assert one.done and one.session_keys() is two.session_keys() is None


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        (("10.0.0.1", 8786), ("::ffff:10.0.0.1", 8786, 0, 0), True),
        (("127.0.0.1", 8786), ("::1", 8786, 0, 0), True),
        (("fe80::1%eth0", 8786, 0, 2), ("fe80:0::1", 8786, 0, 3), True),
        (("10.0.0.1", 8786), ("10.0.0.1", 8787), False),
        (("10.0.0.1", 8786), ("10.0.0.2", 8786), False),
        (("127.0.0.1", 8786), ("127.0.0.2", 8786), False),
    ],
)
def test_addresses_that_are_the_same(one: Any, two: Any, same: bool) -> None:
    assert (audience.of_address(one) == audience.of_address(two)) is same


# ---------------------------------------------------------------- liars


def test_an_acceptor_that_claims_to_need_no_secret() -> None:
    one, two = pair(b"secret", None)
    opening = bytearray(one.start())
    opening[11] = 0  # as if the connector had none
    one.receive(two.receive(bytes(opening)))
    assert type(one.error) is AuthenticationError and "the listener has no secret" in str(one.error)


def test_a_proof_cannot_be_sent_back() -> None:
    """An acceptor without the secret that returns the connector's own proof."""
    one, two = pair()
    proof = one.receive(two.receive(one.start()))
    welcome = two.receive(proof)
    one.receive(welcome[:12] + proof[12:])
    assert type(one.error) is AuthenticationError and "does not know the secret" in str(one.error)


def test_a_proof_cannot_be_used_again() -> None:
    one, two = pair()
    opening = one.start()
    proof = one.receive(two.receive(opening))
    later = Acceptor(b"secret", b"3" * 32, HOSTS[1])
    later.receive(opening)
    later.receive(proof)
    assert type(later.error) is AuthenticationError and not later.done


def test_nothing_of_what_was_said_can_be_changed_on_the_way() -> None:
    for changed, length in enumerate((108, 76)):  # the opening, the challenge
        for at in range(12, length):
            one, two = pair()
            said = bytearray(one.start())
            if changed == 0:
                said[at] ^= 1
            challenge = bytearray(two.receive(bytes(said)))
            if changed == 1:
                challenge[at] ^= 1
            two.receive(one.receive(bytes(challenge)))
            assert not two.done and type(two.error) is AuthenticationError


# ---------------------------------------------------------------- garbage


def machines_at_every_state() -> list[Handshake]:
    """Each machine, before each message that it waits for."""
    made: list[Handshake] = []
    for secret in (b"secret", None):
        one, two = pair(secret, secret)
        one.start()
        made += [one, two]
        one, two = pair(secret, secret)
        challenge = two.receive(one.start())
        one.receive(challenge)
        made += [one, two]
    return made


STATES = range(len(machines_at_every_state()))


@given(st.sampled_from(STATES), st.lists(st.binary(max_size=200), max_size=5))
def test_random_bytes_at_every_state(state: int, parts: list[bytes]) -> None:
    machine = machines_at_every_state()[state]
    for part in parts:
        assert len(machine.receive(part)) <= handshake.MAX_BYTES
    assert not machine.done
    assert len(machine._buffer) < handshake.MAX_BYTES
    assert machine.error is None or isinstance(machine.error, HandshakeError)


@given(
    st.sampled_from(STATES),
    st.integers(1, 5),
    st.integers(0, 255),
    st.binary(max_size=120),
    st.integers(1, 130),
)
def test_messages_of_ours_with_other_content(state: int, kind: int, flags: int, content: bytes, step: int) -> None:
    machine = machines_at_every_state()[state]
    data = handshake._HEAD.pack(handshake.MAGIC, handshake.VERSION, kind, flags) + content
    for start in range(0, len(data), step):
        machine.receive(data[start : start + step])
    if machine._secret is not None:
        assert not machine.done
    assert len(machine._buffer) < handshake.MAX_BYTES


@given(st.data())
def test_mutated_handshakes(data: st.DataObject) -> None:
    """A byte of one of the four messages is another: nobody is let in, and nothing is raised."""
    one, two = pair()
    number, said = 0, one.start()
    target = data.draw(st.integers(0, 3))
    receiver: Handshake = two
    while said:
        if number == target:
            changed = bytearray(said)
            changed[data.draw(st.integers(0, len(said) - 1))] ^= data.draw(st.integers(1, 255))
            said = bytes(changed)
        said = receiver.receive(said)
        receiver = one if receiver is two else two
        number += 1
    sides = {0: (two,), 1: (one, two), 2: (two,), 3: (one,)}[target]
    flags_of_proofs = target >= 2  # mean nothing
    assert flags_of_proofs or not all(side.done for side in sides)


@pytest.mark.parametrize("state", STATES)
def test_a_flood_takes_no_memory(state: int) -> None:
    machine = machines_at_every_state()[state]
    flood = b"\xff" * 512
    tracemalloc.start()
    try:
        for _ in range(5000):
            machine.receive(flood)
        assert tracemalloc.get_traced_memory()[1] < 50_000
    finally:
        tracemalloc.stop()
    assert machine.error is not None


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"GET / HTTP/1.1\r\n", "it speaks HTTP"),
        (b"\x16\x03\x01", "it speaks TLS"),
        (b"SSH-2.0-OpenSSH", "does not speak the protocol of futures_cluster"),
    ],
)
def test_strangers_are_named(data: bytes, text: str) -> None:
    two = Acceptor(b"secret", NONCES[1])
    assert two.receive(data) == b""  # who does not speak our protocol is not answered
    assert text in str(two.error)


@pytest.mark.parametrize(("secret", "nonce"), [(b"", b"1" * 32), (b"x", b"short")])
def test_arguments_that_would_be_unsafe(secret: bytes, nonce: bytes) -> None:
    with pytest.raises(ValueError):
        Connector(secret, nonce)
