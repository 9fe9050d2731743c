"""The thread that calls back."""

from __future__ import annotations

import pytest

from futures_cluster.engines.callbacks import Callbacks


def test_one_that_fails_does_not_keep_the_others_from_being_called(capsys: pytest.CaptureFixture[str]) -> None:
    called: list[str] = []
    callbacks = Callbacks()
    callbacks.call(lambda: called.append("first"))
    callbacks.call(lambda: called.append(str(1 // 0)))
    callbacks.call(lambda: called.append("last"))
    callbacks.close()
    callbacks.join()
    assert called == ["first", "last"]
    assert "ZeroDivisionError" in capsys.readouterr().err
    callbacks.call(lambda: called.append("at once"))
    assert called[-1] == "at once"
