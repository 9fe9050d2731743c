"""Numbers from outside: the range of each, and the error for what is not in it.

Covers: whole numbers, amounts and seconds from users (arguments, command line, environment), and how messages show a
value or count things. Does not cover: numbers in messages of peers (``wire.contents``), sizes with units
(``config.parse_bytes``).

Each function returns a plain ``int`` or ``float`` of whatever type of number came, numpy's among them. NaN is in no
range: it compares as false with everything, so one NaN in a heap of deadlines would put the others out of order.
"""

from __future__ import annotations

import operator
import threading
from collections.abc import Mapping, Sequence
from typing import Any

#: The largest number of anything that is counted.
MAX_COUNT = 2**31 - 1
#: Priorities are no further from 0, so that the sum of two fits into 64 bits.
MAX_PRIORITY = 2**62
#: The largest amount of a resource: the whole numbers up to it are exact as floats.
MAX_AMOUNT = 2.0**53
#: The largest size in bytes, 256 TiB: the sum of many of them fits into 64 bits.
MAX_BYTES = 2**48
#: The longest wait in seconds between two tries of a task; ``backoff`` doubles up to it.
MAX_BACKOFF_S = 300.0
#: The longest time that the system waits (292 years on Linux).
MAX_SECONDS = threading.TIMEOUT_MAX

_SHOWN = 100


def shown(value: object) -> str:
    """Return the ``repr`` of a value for an error: short, and also of what has none.

    Examples
    --------
    >>> shown(float("nan")), shown("x" * 1000)[-3:], shown(10**5000)
    ('nan', '...', '<int>')
    """
    try:
        text = repr(value)
    except Exception:
        return f"<{type(value).__name__}>"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def is_bool(value: object) -> bool:
    """Return whether a value is True or False, of Python or numpy.

    Python takes it for an ``int``; a reader does not.

    Examples
    --------
    >>> is_bool(True), is_bool(1)
    (True, False)
    """
    return type(value).__name__ in ("bool", "bool_")


def flag(name: str, value: Any) -> bool:
    """Return True or False; 1, 0 and numpy's bools are taken as well.

    Raises
    ------
    TypeError
        For anything else: the text "no" would be true.
    """
    if not is_bool(value) and not (isinstance(value, int) and value in (0, 1)):
        raise TypeError(f"{name} must be True or False, got {shown(value)}")
    return bool(value)


def whole(
    name: str, value: Any, least: int, most: int = MAX_COUNT, kind: str = "a whole number", wanted: str = ""
) -> int:
    """Return a whole number in a range as an ``int``.

    Parameters
    ----------
    name : str
        Name of the parameter, for the error.
    kind : str
        What the parameter is, for the error: "an integer or None".
    wanted : str
        The lower bound in the standard library's words, where code may look for these: "greater than 0".

    Raises
    ------
    TypeError
        If the value is no whole number.
    ValueError
        If it is out of range.

    Examples
    --------
    >>> whole("max_workers", True, 1)
    1
    >>> whole("retries", -1, 0, 10)
    Traceback (most recent call last):
        ...
    ValueError: retries must be a whole number from 0 to 10, got -1
    """
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be {kind} (from {least} to {most}), got {shown(value)}") from None
    if not least <= number <= most:
        bounds = f"{wanted} and at most {most}" if wanted else f"{kind} from {least} to {most}"
        raise ValueError(f"{name} must be {bounds}, got {shown(value)}")
    return number


def amount(name: str, value: Any, least: float = 0.0, most: float = MAX_AMOUNT, wanted: str = "") -> float:
    """Return a finite number in a range as a ``float``; see ``whole``.

    Raises
    ------
    TypeError
        If the value is no number.
    ValueError
        If it is out of range, infinite or NaN.

    Examples
    --------
    >>> amount("resources['GPU']", float("nan"), most=8)
    Traceback (most recent call last):
        ...
    ValueError: resources['GPU'] must be a number from 0 to 8, got nan
    """
    wanted = wanted or f"a number from {least:.16g} to {most:.16g}"
    try:
        if isinstance(value, (str, bytes, bytearray)):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be {wanted}, got {shown(value)}") from None
    except OverflowError:  # an int beyond all floats
        number = float("inf")
    if not least <= number <= most:
        raise ValueError(f"{name} must be {wanted}, got {shown(value)}")
    return number


def amounts(name: str, values: Mapping[str, Any], above_zero: bool = False) -> dict[str, float]:
    """Return amounts by name, such as a worker's resources; see ``amount``.

    Parameters
    ----------
    above_zero : bool
        Whether each amount must be above 0.

    Raises
    ------
    TypeError, ValueError
        As ``amount``, with the name of the resource; for a name that is no text, or blank.

    Examples
    --------
    >>> amounts("resources", {"GPU": 2})
    {'GPU': 2.0}
    """
    if not isinstance(values, Mapping):
        raise TypeError(f"{name} must be a dict of amounts by name, got {shown(values)}")
    least, wanted = (5e-324, f"a number above 0 and up to {MAX_AMOUNT:.16g}") if above_zero else (0.0, "")
    found: dict[str, float] = {}
    for key, value in values.items():
        if not isinstance(key, str):
            raise TypeError(f"the names in {name} must be str, got {shown(key)}")
        text = str.__str__(key)  # of a subclass, such as numpy's, the text
        if not text.strip():
            raise ValueError(f"the names in {name} must not be blank, got {shown(text)}")
        if is_bool(value):
            raise TypeError(f"{name}[{shown(text)}] must be a number, got {shown(value)}")
        found[text] = amount(f"{name}[{shown(text)}]", value, least, wanted=wanted)
    return found


def limit_s(name: str, value: Any) -> float | None:
    """Return a time limit in seconds: positive, or None for no limit.

    Raises
    ------
    TypeError, ValueError
        As ``amount``.

    Examples
    --------
    >>> limit_s("timeout", 0)
    Traceback (most recent call last):
        ...
    ValueError: timeout must be a number of seconds above 0 and up to 9223372036, or None for no limit, got 0
    """
    if value is None:
        return None
    wanted = f"a number of seconds above 0 and up to {MAX_SECONDS:.0f}, or None for no limit"
    return amount(name, value, 5e-324, MAX_SECONDS, wanted)


def wait_s(name: str, value: Any) -> float | None:
    """Return a wait's maximum in seconds; 0 if negative, None for no limit.

    Raises
    ------
    TypeError, ValueError
        As ``amount``.

    Examples
    --------
    >>> wait_s("timeout", -1), wait_s("timeout", None)
    (0.0, None)
    """
    if value is None:
        return None
    wanted = f"a number of seconds up to {MAX_SECONDS:.0f}, or None for no limit"
    return max(0.0, amount(name, value, float("-inf"), MAX_SECONDS, wanted))


def counted(number: int, noun: str) -> str:
    """Return a number with its noun.

    Examples
    --------
    >>> counted(1, "worker"), counted(2000, "worker")
    ('1 worker', '2,000 workers')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listed(names: Sequence[str], most: int = 5) -> str:
    """Return the first names, and how many there are besides.

    Examples
    --------
    >>> listed(["a", "b"]), listed(["a", "b", "c", "d"], most=2)
    ('a, b', 'a, b and 2 more')
    """
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")
