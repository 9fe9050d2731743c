"""The command line, the report, and the choice of faults."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from futures_cluster.testing.simulator import Simulation, Work, __main__, workloads
from futures_cluster.testing.simulator.faults import KINDS, PRESETS, Dice, Faults
from futures_cluster.testing.simulator.report import Report, scheduler_bytes_per_task


def test_it_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["--workload", "tree", "--tasks", "99", "--workers", "4", "--check", "1", "--compare", "--memory"]
    assert __main__.main([*argv, "--per-host", "2", "--nic", "1e9"]) == 0
    out = capsys.readouterr().out
    assert out.count("x the lower bound") == 2 and "greedy random placement" in out
    assert "bytes" in out and "RunTasks" in out


def test_it_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "futures_cluster.testing.simulator", "--tasks", "20"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "20 finished" in done.stdout and not done.stderr


@pytest.mark.parametrize(
    "option", ["--tasks=-1", "--workers=0", "--slots=0", "--per-host=0", "--check=-1", "--tasks=ten"]
)
def test_a_number_out_of_its_range_is_wrong_usage(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        __main__.main([option])
    assert left.value.code == 2
    assert f"argument {option.partition('=')[0]}: " in capsys.readouterr().err


def test_a_failing_run_says_how_to_see_it_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*_: Any) -> None:
        raise AssertionError("something is wrong")

    monkeypatch.setattr("futures_cluster.testing.simulator.checks.Checks.right", wrong)
    assert __main__.main(["--tasks", "5", "--check", "1", "--seed", "42"]) == 1
    error = capsys.readouterr().err
    assert "FAILED: something is wrong" in error and "simulation with seed 42" in error
    assert "python -m futures_cluster.testing.simulator --tasks 5 --check 1 --seed 42" in error


@pytest.mark.parametrize("faults", list(PRESETS))
def test_every_set_of_faults_lets_work_be_done(faults: str) -> None:
    workload = workloads.make("chains", 400, seed=1)
    simulation = Simulation(1, workload.work, faults=PRESETS[faults], check=5)
    simulation.add_workers(5)
    report = workloads.run(workload, simulation)
    assert report.finished == 20
    assert (report.crashes + report.mishaps > 0) == (faults not in ("none", "slow", "network"))


def test_the_report_adds_up() -> None:
    """Two workers, a second each, then a task that needs both results, of which one has to be moved."""
    simulation = Simulation(work=lambda key, execution: Work(1.0, 1_000_000), latency_s=0.0, measure=True)
    simulation.add_workers(2)
    simulation.add_client("c").submit([("x", []), ("y", []), ("z", ["x", "y"])], wanted=["z"])
    report = simulation.run()
    assert (report.tasks, report.finished, report.slots) == (3, 1, 2)
    assert (report.work_s, report.path_s, report.lower_bound_s) == (3.0, 2.0, 2.0)
    assert report.moved_bytes == 1_000_000 and report.peak_bytes == 4_000_000
    assert report.stretch == pytest.approx(1.0, abs=0.01) and report.idle == pytest.approx(0.25, abs=0.01)
    assert report.scheduler_s.keys() >= {"SubmitTasks", "TasksFinished"} and report.scheduler_s_per_task > 0
    assert Report(0).stretch == 1.0 and Report(0).idle == 0.0


def test_memory_of_a_queued_task() -> None:
    assert 100 < scheduler_bytes_per_task(workloads.independent(2000)) < 1500


def test_kinds_of_faults_do_not_move_each_other() -> None:
    rates = dict.fromkeys(KINDS.values(), 1.0)
    only = Dice(Faults(partitions_per_s=1.0), 5)
    every = Dice(Faults(**rates), 5)
    for kind in ("crash", "stuck"):
        every.next_s(kind)
    assert [only.next_s("partition") for _ in range(5)] == [every.next_s("partition") for _ in range(5)]
    assert only.next_s("crash") is None


def test_faults_come_to_an_end() -> None:
    dice = Dice(Faults(crashes_per_s=1.0, most_crashes=2, partitions_per_s=1.0, most_mishaps=1), 0)
    assert [dice.next_s("crash") is None for _ in range(3)] == [False, False, True]
    assert [dice.next_s("partition") is None for _ in range(2)] == [False, True]
