"""The restart policy, on a clock of its own."""

from __future__ import annotations

import pytest

from futures_cluster.services.launch.restart_policy import FIRST_PAUSE_S, MAX_FAILURES, MAX_PAUSE_S, RestartPolicy


def fail_until(policy: RestartPolicy, failures: int) -> list[float]:
    """Start at once whenever the policy allows it, and fail; the pauses."""
    now_s, pauses = 0.0, []
    for _ in range(failures):
        assert policy.failed(now_s, now_s)
        pauses.append(policy.pause_s(now_s))
        now_s += pauses[-1]
        assert policy.pause_s(now_s) == 0
    return pauses


def test_pauses_double_up_to_the_maximum() -> None:
    pauses = fail_until(RestartPolicy(), 60)
    assert [round(pause_s / FIRST_PAUSE_S) for pause_s in pauses[:6]] == [1, 2, 4, 8, 16, 32]
    assert all(round(pause_s, 6) == MAX_PAUSE_S for pause_s in pauses[6:])


def test_a_policy_without_failures_makes_no_pause() -> None:
    policy = RestartPolicy()
    assert policy.pause_s(-1e9) == 0 and not policy.exhausted


def test_starts_that_fail_together_count_once() -> None:
    policy = RestartPolicy()
    assert policy.failed(began_s=10.0, now_s=11.0)
    assert not policy.failed(began_s=10.5, now_s=11.0)  # it was under way
    assert not policy.failed(began_s=11.05, now_s=11.06)  # it began in the pause
    assert policy.failures == 1
    assert policy.failed(began_s=11.1, now_s=11.2)
    assert policy.failures == 2


def test_a_slow_failure_of_a_former_wave_does_not_prolong_the_pause() -> None:
    policy = RestartPolicy()
    policy.failed(began_s=0.0, now_s=1.0)
    before = policy.pause_s(1.05)
    policy.failed(began_s=0.0, now_s=1.05)
    assert policy.pause_s(1.05) == before


def test_after_a_failure_one_start_at_a_time() -> None:
    policy = RestartPolicy()
    policy.started(0.0)
    assert policy.pause_s(0.0) == 0  # without a failure there is no probe
    policy.failed(0.0, 1.0)
    policy.started(2.0)
    assert policy.pause_s(2.0) == MAX_PAUSE_S  # at most: it may hang
    assert policy.failed(2.0, 2.5)
    assert policy.pause_s(2.5) == pytest.approx(2 * FIRST_PAUSE_S)
    policy.started(3.0)
    policy.succeeded()
    assert policy.pause_s(3.1) == 0


def test_exhausted_after_the_stated_number_in_a_row() -> None:
    policy = RestartPolicy()
    fail_until(policy, MAX_FAILURES - 1)
    assert not policy.exhausted
    fail_until(RestartPolicy(), MAX_FAILURES)
    policy.failed(1e6, 1e6)
    assert policy.exhausted


def test_a_worker_that_gets_ready_ends_the_row() -> None:
    policy = RestartPolicy()
    fail_until(policy, MAX_FAILURES)
    policy.succeeded()
    assert policy.failures == 0 and not policy.exhausted and policy.pause_s(0.0) == 0
    assert fail_until(policy, 1) == [FIRST_PAUSE_S]
