"""The types of options and arguments: each reads a text of the command line, and refuses a wrong one.

Covers: numbers and their ranges, sizes, files, names, ports, amounts by name, addresses. argparse prints the reason of
an ``ArgumentTypeError`` behind the name of the option. Does not cover: which options there are (``cli``), what can be
checked only by the command itself (``commands``).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from futures_cluster import numbers

#: Formats of matplotlib, which is not imported to check a name: the demo measures how long imports take.
PICTURES = (".jpg", ".pdf", ".png", ".svg")


def _checked(check: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a check returns; argparse adds the option's name to its error."""
    try:
        return check(*arguments)
    except (TypeError, ValueError) as error:
        raise argparse.ArgumentTypeError(str(error).strip()) from None


def count(least: int, most: int = numbers.MAX_COUNT) -> Callable[[str], int]:
    """Return the type of whole numbers in a range."""

    def count(text: str) -> int:
        return int(_checked(numbers.whole, "", _number(text, int), least, most))

    return count


def seconds(least: float, most: float = numbers.MAX_SECONDS) -> Callable[[str], float]:
    """Return the type of seconds in a range."""

    def seconds(text: str) -> float:
        return float(_checked(numbers.amount, "", _number(text), least, most))

    return seconds


def _number(text: str, kind: Callable[[str], Any] = float) -> Any:
    """Return the number that a text is, or the text, for a check to refuse."""
    try:
        return kind(text)
    except ValueError:
        return text


def number_of_bytes(text: str) -> int:
    """Return the bytes of a size such as ``4GB``."""
    from futures_cluster.config import parse_bytes

    return int(_checked(parse_bytes, text))


def output_file(text: str) -> str:
    """Return the path of a file that can be written when the work is done."""
    from futures_cluster.config import check_writable

    try:
        check_writable(text)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text!r} cannot be written: {error.strerror}") from None
    return text


def picture_file(text: str) -> str:
    """Return the path of a picture that can be written, by its ending."""
    if not text.lower().endswith(PICTURES):
        raise argparse.ArgumentTypeError(f"{text!r} is not the name of a picture; end it in {', '.join(PICTURES)}")
    return output_file(text)


def name(text: str) -> str:
    """Return a name that the scheduler accepts, and that looks like no successor's."""
    from futures_cluster.services.scheduler.permissions import is_line

    if not 0 < len(text) <= 200 or not is_line(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a name; use at most 200 characters, all printable")
    if "~" in text:
        raise argparse.ArgumentTypeError(
            f"{text!r} has a ~, which stands before the number of a worker that takes another's place; leave it out"
        )
    return text


def port(text: str) -> int:
    """Return a port; -1 for ``none``."""
    if text == "none":
        return -1
    port = _number(text, int)
    if port not in range(65536):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; write a number, or none")
    return int(port)


def amounts(text: str, above_zero: bool = False) -> dict[str, float]:
    """Parse amounts by name such as ``GPU=2,disk=1.5``."""
    found: dict[str, float] = {}
    for part in filter(None, text.split(",")):
        name, equals, amount = part.partition("=")
        value = _number(amount)
        if not equals or not name.strip() or isinstance(value, str):
            raise argparse.ArgumentTypeError(f"{part!r} is not NAME=NUMBER; write for example GPU=2,disk=1")
        if name.strip() in found:
            raise argparse.ArgumentTypeError(f"{text!r} has two numbers for {name.strip()!r}; write one")
        found[name.strip()] = value
    return dict(_checked(numbers.amounts, "", found, above_zero))


def limits(text: str) -> dict[str, float]:
    """Parse limits such as ``api=3``; tasks could take nothing of a limit of 0."""
    return amounts(text, above_zero=True)


def address(text: str) -> str:
    """Return an address, or what stands in a file with one."""
    from futures_cluster.cli.commands import read_address

    return str(_checked(read_address, text))
