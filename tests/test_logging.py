"""Log records and warnings of tasks: they reach the caller's loggers, as these say, and stop nothing."""

from __future__ import annotations

import logging
import logging.handlers
import multiprocessing
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from futures_cluster import Executor, NotSupported, TaskLogFilter, current_executor
from futures_cluster import messages as m
from futures_cluster.config import FORWARD_LOGS_VARIABLE, make_config
from futures_cluster.scheduler.state import State
from futures_cluster.services.client import log_receiver
from futures_cluster.services.common import log_records
from futures_cluster.services.common.log_settings import LogSettingsWatch, merge
from futures_cluster.services.scheduler.log_relay import LogRelay
from futures_cluster.services.worker import log_forwarder

ROOT = Path(__file__).resolve().parents[1]
log = logging.getLogger("app.part")


class Records(logging.Handler):
    """Keeps records."""

    def __init__(self) -> None:
        super().__init__()
        self.all: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.all.append(record)

    @property
    def texts(self) -> list[str]:
        return [record.getMessage() for record in self.all]


@pytest.fixture
def records() -> Iterator[Records]:
    """What loggers below "app" get, from level INFO on."""
    handler = Records()
    logger = logging.getLogger("app")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)
    log.setLevel(logging.NOTSET)


def say(*texts: str, level: int = logging.INFO) -> None:
    for text in texts:
        log.log(level, text)


class TestRecords:
    def test_they_arrive_in_order_with_what_they_are_about(self, records: Records) -> None:
        with Executor(1) as ex:
            future = ex.submit(say, "one", "two", "100%")
            future.result()
        assert records.texts == ["one", "two", "100%"]
        record: Any = records.all[0]
        assert (record.name, record.levelname, record.args, record.funcName) == ("app.part", "INFO", None, "say")
        assert record.pathname == __file__
        assert record.processName == record.worker_name == "worker-0"
        assert record.task_key == future.key
        assert record.process not in (None, os.getpid())

    def test_a_task_has_said_it_all_before_its_end_is_known(self, records: Records) -> None:
        class Receiver(log_receiver.LogReceiver):
            def deliver(self, message: m.LogRecords) -> None:
                arrived.extend(message.rows)
                super().deliver(message)

        arrived: list[Any] = []
        with Executor(1) as ex:
            ex.submit(int).result()
            engine: Any = ex._engine
            engine.client.logs = Receiver()
            for number in range(20):
                ex.submit(say, str(number)).result()
                assert len(arrived) == number + 1

    def test_an_exception_is_a_text(self, records: Records) -> None:
        def fail() -> None:
            try:
                raise KeyError("missing")
            except KeyError:
                log.exception("failed for %r", "that", stack_info=True)

        with Executor(1) as ex:
            ex.submit(fail).result()
        (record,) = records.all
        text = logging.Formatter("%(message)s").format(record)
        assert text.startswith("failed for 'that'\nTraceback (most recent call last):")
        assert "KeyError: 'missing'\nStack (most recent call last):" in text

    def test_extra_values(self, records: Records) -> None:
        class Plain:
            def __repr__(self) -> str:
                return "<plain>"

            def __reduce__(self) -> Any:
                raise TypeError("does not pickle")

        def speak() -> None:
            log.info("x", extra={"number": 3, "path": Path("a"), "plain": Plain(), "worker_name": "mine"})

        with Executor(1) as ex:
            ex.submit(speak).result()
        record: Any = records.all[0]
        assert (record.number, record.path, record.plain, record.worker_name) == (3, Path("a"), "<plain>", "mine")

    def test_large_texts_are_cut(self, records: Records) -> None:
        with Executor(1) as ex:
            ex.submit(lambda: log.info("x" * 10**6)).result()
        assert records.texts[0].endswith("x... (934,464 characters more)")

    def test_a_message_that_cannot_be_formatted_stops_nothing(
        self, records: Records, capfd: pytest.CaptureFixture[str]
    ) -> None:
        def speak() -> None:
            log.info("%d", "no number")
            log.info("after it")

        with Executor(1) as ex:
            ex.submit(speak).result()
        assert records.texts == ["after it"]
        assert "--- Logging error ---" in capfd.readouterr().err

    def test_from_threads_and_nested_tasks(self, records: Records) -> None:
        def in_thread() -> None:
            thread = threading.Thread(target=say, args=("thread",))
            thread.start()
            thread.join()

        def nested() -> None:
            current_executor().submit(say, "nested").result()

        with Executor(2) as ex:
            ex.submit(in_thread).result()
            ex.submit(nested).result()
        assert sorted(records.texts) == ["nested", "thread"]

    def test_an_initializer_that_logs_and_fails(self, records: Records, capfd: pytest.CaptureFixture[str]) -> None:
        def start() -> None:
            log.info("about to fail")
            raise ValueError("no")

        ex = Executor(1, initializer=start)
        assert ex.submit(int).exception() is not None
        ex.shutdown()
        assert records.texts == ["about to fail"]

    def test_a_library_whose_logger_has_a_null_handler(self, records: Records) -> None:
        def speak() -> None:
            logger = logging.getLogger("app.library")
            logger.addHandler(logging.NullHandler())
            logger.info("from the library")

        with Executor(1) as ex:
            ex.submit(speak).result()
        assert records.texts == ["from the library"]


class TestLevels:
    def test_changes_hold_from_the_next_task_on(self, records: Records) -> None:
        def enabled() -> bool:
            return log.isEnabledFor(logging.DEBUG)

        with Executor(1) as ex:
            assert not ex.submit(enabled).result()
            log.setLevel(logging.DEBUG)
            assert ex.submit(enabled).result()
            logging.disable(logging.DEBUG)
            try:
                assert not ex.submit(enabled).result()
            finally:
                logging.disable(logging.NOTSET)
            assert ex.submit(enabled).result()
            log.setLevel(logging.NOTSET)
            assert not ex.submit(enabled).result()

    def test_without_news_nothing_is_sent(self, records: Records) -> None:
        watch = LogSettingsWatch("main", everything=False, filters=True)
        assert watch.news() is None
        log.setLevel(logging.INFO)
        news = watch.news()
        assert news is not None
        assert ("app.part", logging.INFO) in news.levels
        log.setLevel(logging.INFO)
        assert watch.news() is None

    def test_filters_of_warnings_are_news(self) -> None:
        watch = LogSettingsWatch("main", everything=False, filters=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert watch.news() is not None
            assert watch.news() is None
        assert watch.news() is not None

    def test_what_a_worker_has_set_itself_stays(self, records: Records) -> None:
        def start() -> None:
            logging.getLogger("app").setLevel(logging.ERROR)

        with Executor(1, initializer=start) as ex:
            log.setLevel(logging.INFO)
            ex.submit(say, "of a level that only the client knows").result()
            log.setLevel(logging.NOTSET)
            ex.submit(say, "disabled").result()
            logging.getLogger("app").setLevel(logging.DEBUG)
            ex.submit(say, "disabled").result()
        assert records.texts == ["of a level that only the client knows"]

    def test_a_module_that_sets_its_level_does_not_hide_the_callers(
        self, records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "app_chatty.py").write_text(
            "import logging\n"
            "log = logging.getLogger('app.chatty')\n"
            "log.setLevel(logging.ERROR)\n"
            "def say(text):\n"
            "    log.debug(text)\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        import app_chatty  # type: ignore[import-not-found]

        app_chatty.log.setLevel(logging.DEBUG)
        with Executor(1) as ex:
            ex.submit(app_chatty.say, "shown").result()
        assert records.texts == ["shown"]

    def test_several_clients_get_what_each_wants(self) -> None:
        one = m.LogSettings("one", [("", 30), ("a", 10), ("a.b", 50)], disabled=20)
        two = m.LogSettings("two", [("", 40), ("c", 20)], everything=True)
        merged = merge([one, two])
        assert dict(merged.levels) == {"": 30, "a": 10, "a.b": 40, "c": 20}
        assert (merged.disabled, merged.everything) == (0, True)


class TestHandlersOfWorkers:
    """What code on a worker does with logging means what it means elsewhere."""

    def test_a_configured_worker_writes_by_itself(self, records: Records, capfd: pytest.CaptureFixture[str]) -> None:
        def start() -> None:
            logging.basicConfig(level=logging.INFO, format="here: %(message)s")

        with Executor(1, initializer=start) as ex:
            ex.submit(say, "once").result()
        assert records.texts == []
        assert capfd.readouterr().err.splitlines() == ["here: once"]

    def test_the_level_of_its_handler_counts(self, records: Records, capfd: pytest.CaptureFixture[str]) -> None:
        def start() -> None:
            handler = logging.StreamHandler()
            handler.setLevel(logging.ERROR)
            log.addHandler(handler)

        with Executor(1, initializer=start) as ex:
            ex.submit(say, "low").result()
            ex.submit(say, "high", level=logging.ERROR).result()
        assert records.texts == ["low"]
        assert capfd.readouterr().err.splitlines() == ["high"]

    def test_all_records_if_they_are_asked_for(self, records: Records, capfd: pytest.CaptureFixture[str]) -> None:
        def start() -> None:
            logging.basicConfig(level=logging.INFO, format="here: %(message)s")

        with Executor(1, initializer=start, forward_logs=True) as ex:
            ex.submit(say, "twice").result()
        assert records.texts == ["twice"]
        assert capfd.readouterr().err.splitlines() == ["here: twice"]

    def test_a_process_that_a_task_forks_writes_warnings_to_stderr(
        self, records: Records, capfd: pytest.CaptureFixture[str]
    ) -> None:
        def fork() -> None:
            process = multiprocessing.get_context("fork").Process(target=say, args=("child",), kwargs={"level": 30})
            process.start()
            process.join()

        with Executor(1) as ex:
            ex.submit(fork).result()
        assert records.texts == []
        assert capfd.readouterr().err.splitlines() == ["child"]


class TestOff:
    def test_by_the_argument(self, records: Records, capfd: pytest.CaptureFixture[str]) -> None:
        with Executor(1, forward_logs=False) as ex:
            ex.submit(say, "low").result()
            ex.submit(say, "high", level=logging.WARNING).result()
        assert records.texts == []
        assert capfd.readouterr().err.splitlines() == ["high"]

    def test_by_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for text, value in [("0", False), ("1", True), ("", None)]:
            monkeypatch.setenv(FORWARD_LOGS_VARIABLE, text)
            assert make_config(1).forward_logs is value
            assert make_config(1, forward_logs=False).forward_logs is False
        monkeypatch.setenv(FORWARD_LOGS_VARIABLE, "some")
        with pytest.raises(ValueError, match="must be 0, 1 or empty, got 'some'"):
            make_config(1)

    def test_arguments_are_checked(self) -> None:
        with pytest.raises(TypeError, match="forward_logs must be True, False or None, got 1"):
            Executor(1, forward_logs=1)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="incompatible with the 'fork'"):
            Executor(1, multiprocessing.get_context("fork"), forward_logs=True)

    def test_not_on_other_engines(self) -> None:
        pytest.importorskip("distributed")
        with pytest.raises(NotSupported, match=r"forward_logging\(\)"):
            Executor(backend="dask://127.0.0.1:1", forward_logs=True)

    def test_forked_workers_have_the_callers_handlers(self, tmp_path: Path) -> None:
        handler = logging.FileHandler(tmp_path / "log")
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        try:
            with Executor(1, multiprocessing.get_context("fork")) as ex:
                ex.submit(say, "once").result()
        finally:
            log.removeHandler(handler)
            log.setLevel(logging.NOTSET)
            handler.close()
        assert (tmp_path / "log").read_text() == "once\n"

    @pytest.mark.parametrize("forward_logs", [None, True])
    def test_spawned_workers(self, records: Records, forward_logs: bool | None) -> None:
        with Executor(1, multiprocessing.get_context("spawn"), forward_logs=forward_logs) as ex:
            ex.submit(say, "asked for").result()
        assert records.texts == (["asked for"] if forward_logs else [])


class TestHandlersOfTheCaller:
    """They run on a thread that the executor does not need."""

    def test_one_that_raises(self, records: Records, capsys: pytest.CaptureFixture[str]) -> None:
        def refuse(record: logging.LogRecord) -> bool:
            if record.getMessage() == "bad":
                sys.exit("a filter that ends the program")
            return True

        records.addFilter(refuse)
        with Executor(1) as ex:
            ex.submit(say, "bad", "good").result()
            ex.submit(say, "better").result()
        assert records.texts == ["good", "better"]
        assert "a filter that ends the program" in capsys.readouterr().err

    def test_one_that_blocks(
        self, records: Records, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(log_receiver, "HANDLER_TIMEOUT_S", 0.05)
        go = threading.Event()
        records.addFilter(lambda record: go.wait())
        with Executor(1) as ex:
            ex.submit(say, "one", "two").result()
            assert ex.submit(pow, 2, 3).result() == 8
        assert "has taken more than 0.05 s" in capsys.readouterr().err
        go.set()  # its thread handles the rest, and ends

    def test_one_that_submits(self, records: Records) -> None:
        results = []

        def submit(record: logging.LogRecord) -> bool:
            results.append(ex.submit(pow, 2, 3).result())
            done.set()
            return True

        done = threading.Event()
        records.addFilter(submit)
        with Executor(1) as ex:
            ex.submit(say, "one").result()
            assert done.wait(60)
        assert results == [8]

    def test_one_that_ends_the_executor(self, records: Records) -> None:
        done = threading.Event()

        def end(record: logging.LogRecord) -> bool:
            ex.shutdown()
            done.set()
            return True

        records.addFilter(end)
        ex = Executor(1)
        ex.submit(say, "one")
        assert done.wait(60)


class TestTooMuch:
    def test_a_worker_drops_and_counts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(log_forwarder, "MAX_ROWS", 3)

        class Loop:
            def call_soon_threadsafe(self, function: Any) -> None:
                wakes.append(function)

        wakes: list[Any] = []
        pending = 0
        loop: Any = Loop()
        forwarder = log_forwarder.LogForwarder("w", loop, lambda: None, lambda: pending, is_shared=False)
        for number in range(5):
            forwarder.take_warning(f"warning {number}", UserWarning, __file__, 1)
        assert len(wakes) == 1
        pending = log_forwarder.MAX_PENDING_BYTES + 1
        assert forwarder.take() == []
        pending = 0
        (message,) = forwarder.take()
        assert isinstance(message, m.LogRecords)
        assert (len(message.rows), message.dropped) == (3, 2)
        assert forwarder.take() == []

    def test_the_client_drops_and_tells(
        self, records: Records, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        go = threading.Event()
        records.addFilter(lambda record: go.wait(60))
        record = logging.makeLogRecord({"msg": "x", "name": "app", "levelno": logging.INFO})
        data = log_records.pack_record(record)
        monkeypatch.setattr(log_receiver, "MAX_BYTES", 2 * len(data))
        receiver = log_receiver.LogReceiver()
        for _ in range(5):
            receiver.deliver(m.LogRecords("w", [("", data)], dropped=10))
        go.set()
        receiver.close()
        receiver.join()
        assert records.texts == ["x", "x"]
        dropped = [record.args[0] for record in caplog.records if record.name == "futures_cluster"]  # type: ignore[index]
        assert sum(dropped) == 53  # type: ignore[arg-type]

    def test_a_flood_is_not_kept(self, records: Records, caplog: pytest.LogCaptureFixture) -> None:
        number = 50_000

        def flood() -> None:
            for each in range(number):
                log.info("line %d", each)

        with Executor(1) as ex:
            ex.submit(flood).result()
        dropped = sum(r.args[0] for r in caplog.records if r.name == "futures_cluster")  # type: ignore[index,misc]
        assert len(records.all) + dropped == number
        order = [int(text.split()[1]) for text in records.texts]
        assert order == sorted(order)

    def test_the_relay_drops_for_a_client_that_does_not_read(self) -> None:
        sent: list[m.Message] = []
        relay = LogRelay(State(), {}, {"c": sent.extend})
        relay.want(m.LogSettings("c", [("", 30)]))
        pending = {"c": 2**40}
        relay.pending_bytes = pending.__getitem__
        relay.pass_on(m.LogRecords("w", [("", b"1"), ("", b"2")]))
        pending["c"] = 0
        relay.pass_on(m.LogRecords("w", [("", b"3")]))
        relay.forget("c")
        relay.pass_on(m.LogRecords("w", [("", b"4")]))
        assert sent == [m.LogRecords("w", [("", b"3")], 2)]


@pytest.mark.parametrize("backend", ["processes", "threads", "sync"])
def test_one_format_for_all_records(backend: str, records: Records) -> None:
    records.addFilter(TaskLogFilter())
    with Executor(1, backend=backend) as ex:
        future = ex.submit(say, "task")
        future.result()
    say("own")
    formatter = logging.Formatter("[%(worker_name)s %(task_key)s] %(message)s")
    worker = {"processes": "worker-0", "threads": "threads", "sync": ""}[backend]
    assert [formatter.format(record) for record in records.all] == [f"[{worker} {future.key}] task", "[ ] own"]


def run_script(text: str, *options: str) -> tuple[list[str], list[str]]:
    """The lines that a script prints, to stdout and to stderr."""
    done = subprocess.run(
        [sys.executable, *options, "-c", text],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), done.stderr.splitlines()


class TestScripts:
    def test_basic_config(self) -> None:
        script = """if True:
            import logging
            from futures_cluster import Executor
            def work(x):
                logging.info("working on %s", x)
                logging.getLogger("other").debug("not shown")
            ex = Executor(1)
            logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
            ex.submit(work, 1)  # the script neither waits for it nor ends the executor
        """
        assert run_script(script)[1] == ["INFO working on 1"]

    def test_nothing_is_configured(self) -> None:
        script = """if True:
            import logging
            from futures_cluster import Executor
            def work():
                logging.getLogger("a").info("not shown")
                logging.getLogger("a").warning("shown")
            with Executor(1) as ex:
                ex.submit(work).result()
        """
        assert run_script(script)[1] == ["shown"]

    WARN = """if True:
        import logging, sys, warnings
        from futures_cluster import Executor
        def warn(x):
            warnings.warn("careful")
            warnings.warn("deprecated", DeprecationWarning)
            return x
        def show(message, category, filename, lineno, file=None, line=None):
            shown.append(f"{category.__name__} {message} {lineno}")
        shown = []
        SETTING
        with Executor(2) as ex:
            try:
                print(sorted(f.result() for f in [ex.submit(warn, i) for i in range(4)]))
            except Warning as error:
                print("raised", error)
        print(*shown, sep="\\n")
    """

    @pytest.mark.parametrize(
        ("setting", "lines"),
        [
            ("pass", {"UserWarning careful 5": 1, "DeprecationWarning deprecated 6": 1, "[0, 1, 2, 3]": 1}),
            ("warnings.simplefilter('ignore')", {"[0, 1, 2, 3]": 1, "": 1}),
            ("warnings.filterwarnings('ignore', 'care')", {"DeprecationWarning deprecated 6": 1, "[0, 1, 2, 3]": 1}),
            (
                "warnings.simplefilter('always')",
                {"UserWarning careful 5": 4, "DeprecationWarning deprecated 6": 4, "[0, 1, 2, 3]": 1},
            ),
            ("warnings.simplefilter('error')", {"raised careful": 1, "": 1}),
        ],
        ids=["default", "ignore", "ignore some", "always", "error"],
    )
    def test_warnings_are_shown_as_the_caller_says(self, setting: str, lines: dict[str, int]) -> None:
        out, err = run_script(self.WARN.replace("SETTING", f"warnings.showwarning = show; {setting}"))
        assert {line: out.count(line) for line in out} == lines
        assert err == []

    def test_filters_change_also_after_a_module_has_added_some(self, tmp_path: Path) -> None:
        (tmp_path / "adds_filter.py").write_text(
            "import warnings\n"
            "warnings.filterwarnings('ignore', 'nothing')\n"
            "def warn():\n"
            "    warnings.warn('careful', UserWarning)\n"
        )
        script = f"""if True:
            import sys, warnings
            sys.path.append({str(tmp_path)!r})
            import adds_filter
            from futures_cluster import Executor
            warnings.simplefilter("ignore")
            warnings.filters.append("no filter")
            with Executor(1) as ex:
                print(ex.submit(adds_filter.warn).exception())
                warnings.simplefilter("error")
                print(repr(ex.submit(adds_filter.warn).exception()))
        """
        assert run_script(script) == (["None", "UserWarning('careful')"], [])

    def test_warnings_as_log_records(self) -> None:
        setting = "logging.basicConfig(format='%(name)s %(message)s'); logging.captureWarnings(True)"
        err = run_script(self.WARN.replace("SETTING", setting))[1]
        assert sum(line.startswith("py.warnings ") and "UserWarning: careful" in line for line in err) == 1
