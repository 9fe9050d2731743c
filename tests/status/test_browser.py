"""The status page in a real browser: each view shows the numbers of ``/api``, by mouse and by keyboard, with no error.

Needs Debian's chromium and chromium-driver, and selenium; skipped where they are missing.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gate import Gate

from futures_cluster import Executor, wait
from futures_cluster.wire.versions import is_gil_enabled

from .looking import ask, eventually

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="chromium and chromium-driver are not installed"),
]


class Browser:
    """Headless Chromium."""

    def __init__(self, folder: Path) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for argument in (
            "headless=new",
            "no-sandbox",
            "disable-dev-shm-usage",
            "disable-gpu",
            f"user-data-dir={folder}",
        ):
            options.add_argument("--" + argument)
        options.add_argument("--hide-scrollbars")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
        self.look_like(1280, 860)

    def look_like(self, width: int, height: int, dark: bool = False, phone: bool = False) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1.5 if phone else 1, "mobile": phone}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})

    def open(self, url: str) -> None:
        self.driver.get(url)

    def js(self, code: str) -> Any:
        return self.driver.execute_script("return " + code)

    def until(self, code: str) -> Any:
        """The value of some JavaScript, as soon as it is true."""
        return eventually(lambda: self.js(code))

    def text(self, selector: str) -> str:
        return str(self.js(f"(document.querySelector({json.dumps(selector)}) || {{innerText: ''}}).innerText"))

    def cells(self, row: str) -> list[str]:
        found: list[str] = self.js(
            f"[...document.querySelectorAll({json.dumps(row + ' td')})].map(td => td.innerText.trim())"
        )
        return found

    def go(self, text: str) -> None:
        """Click on the tab of this name."""
        self.until(f"[...document.querySelectorAll('nav a')].some(a => a.innerText.startsWith({json.dumps(text)}))")
        self.js(
            f"[...document.querySelectorAll('nav a')].find(a => a.innerText.startsWith({json.dumps(text)})).click()"
        )

    def press(self, *keys: str) -> None:
        webdriver.ActionChains(self.driver).send_keys(*keys).perform()

    def errors(self) -> list[Any]:
        """What the console has complained about, or the page's policy has forbidden."""
        return [entry for entry in self.driver.get_log("browser") if entry["level"] != "INFO"]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("chromium"))
    try:
        yield browser
    finally:
        browser.driver.quit()


@pytest.fixture(autouse=True)
def former_page_is_left(browser: Browser) -> None:
    """A page of the test before, whose executor has ended, goes on asking for it."""
    browser.open("about:blank")
    browser.errors()


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """In the place of the check for all tests: the browser's own processes and sockets come and go."""
    yield


def load(i: int) -> bytes:
    end = time.perf_counter() + 0.03
    while time.perf_counter() < end:
        pass
    return bytes(400_000)


def clean(part: bytes) -> bytes:
    end = time.perf_counter() + 0.02
    while time.perf_counter() < end:
        sorted(part[:2000])
    return part[:300_000]


def total(*parts: bytes) -> int:
    return sum(len(sorted(part[:200_000])) for part in parts)


def risky(i: int) -> int:
    if i == 3:
        raise ValueError("<b>no</b> value for 3")
    return i


def tiny(i: int) -> int:
    return i


def evil() -> None:
    """Its name is set below."""


evil.__name__ = evil.__qualname__ = "<script>document.title='evil'</script><img src=x onerror=alert(1)>"


def work(ex: Executor, times: int) -> dict[str, list[Any]]:
    """A run with something to see in each view."""
    futures: dict[str, list[Any]] = {"load": [], "clean": [], "total": [], "risky": [], "tiny": [], "evil": []}
    for _ in range(times):
        loads = [ex.submit(load, i) for i in range(12)]
        cleans = [ex.submit(clean, part) for part in loads]
        futures["load"] += loads
        futures["clean"] += cleans
        futures["total"] += [ex.submit(total, *cleans[i : i + 4]) for i in range(0, 12, 4)]
        futures["tiny"] += ex.map(tiny, range(300)).futures
        wait(futures["total"])
    futures["risky"] = [ex.submit(risky, i) for i in range(5)]
    futures["evil"] = [ex.submit(evil)]
    wait([future for some in futures.values() for future in some])
    return futures


def test_each_view_shows_what_is_true(browser: Browser, gate: Gate) -> None:
    browser.look_like(1280, 860)
    with Executor(3, memory_limit="600MB") as ex:
        try:
            url = ex.status_url
            browser.open(url)
            browser.until("document.querySelector('.live.on') !== null")
            eventually(lambda: ask(url, "snapshot")["viewers"] == 1)
            futures = work(ex, 4)
            blocked = [ex.submit(gate.hold) for _ in range(4)]
            gate.wait_come(3)
            browser.until("snapshot && snapshot.functions.some(row => row.name === 'Gate.hold' && row.running === 3)")
            check_tasks(browser, url, futures)
            check_workers(browser, ex, url)
            check_data_and_graph(browser, url)
            check_profile_and_timings(browser, url)
            check_failures_and_log(browser, futures)
            check_task(browser, url, blocked[3])
            check_function(browser, url, blocked)
            check_looks(browser, url)
            assert browser.errors() == []
        finally:
            gate.open()


def check_tasks(browser: Browser, url: str, futures: dict[str, list[Any]]) -> None:
    rows = {row["name"]: row for row in ask(url, "snapshot")["functions"]}
    for name, some in futures.items():
        name = evil.__name__ if name == "evil" else name
        cells = browser.cells(f"[data-function={json.dumps(name)}]")
        assert cells[0] == name
        assert cells[2] == f"{rows[name]['finished']:,}"
        assert rows[name]["finished"] == len(some) - (name == "risky")
        assert cells[3] == f"{rows[name]['memory']:,}"
    assert browser.cells('[data-function="risky"]')[7] == "1"
    assert browser.cells('[data-function="Gate.hold"]')[4:6] == ["3", "1"]
    assert "3 of 3" in browser.text("#figures").replace("\n", " ")
    total_done = sum(row["finished"] for row in rows.values())
    assert f"of {total_done + 1 + 4:,} tasks since the start, 1 failed" in browser.text("#overall")
    assert browser.cells('[data-function="load"]')[9].endswith("MB")
    # All runs are in the stream, those of one row counted.
    counted = "stream.rows.filter(row => row[2] === '%s').reduce((sum, row) => sum + row[5], 0)"
    browser.until(f"{counted % 'tiny'} === {len(futures['tiny'])}")
    browser.until(f"{counted % 'total'} >= {len(futures['total'])}")
    browser.until("stream.rows.some(row => row[8])")
    assert browser.js(counted % "total") == len(futures["total"])
    assert browser.js("stream.rows.filter(row => row[8]).length") == 1
    # Something is drawn: the canvas has colours of functions on it.
    browser.until(
        "(() => { const c = stream.canvas, d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; "
        "let n = 0; for (let i = 0; i < d.length; i += 4) if (d[i + 3] === 255) n++; return n > 500; })()"
    )
    # Whoever walks by keyboard keeps the focus, though the page is drawn again and again.
    browser.js("document.querySelector('nav a[href=\"#/graph\"]').focus()")
    time_shown = browser.js("snapshot.time")
    browser.until(f"snapshot.time > {time_shown} + 1")
    assert browser.js("document.activeElement.getAttribute('href')") == "#/graph"
    browser.js("document.querySelector('.skip').click()")
    assert browser.js("document.activeElement.id + location.hash") in ("view", "view#/tasks")
    # By keyboard: from run to run, and into the story of one.
    browser.js("stream.canvas.focus()")
    browser.press("\ue014", "\ue012", "\ue012")  # right, left, left
    assert browser.text("#tip")
    browser.press("\ue00c")  # Escape
    assert browser.js("document.getElementById('tip').hidden")
    assert browser.js("document.title") == "Tasks · futures_cluster"
    assert browser.js("document.querySelectorAll('script').length") == 2
    assert browser.js("document.querySelectorAll('img').length") == 0


def check_workers(browser: Browser, ex: Executor, url: str) -> None:
    browser.go("Workers")
    browser.until("!document.getElementById('v-workers').hidden && document.querySelector('[data-worker]')")
    for name in ex.workers():
        assert browser.cells(f'[data-worker="{name}"]')[3] == "1/1"
    browser.until("!document.getElementById('over-time').hidden")
    titles = browser.js("[...document.querySelectorAll('#use h3')].map(node => node.innerText)")
    assert titles == ["Processor", "Memory", "Network, between workers"] and "MB now" in browser.text("#use")
    labels = browser.js(
        "[...document.querySelectorAll('#workers td:nth-child(7) [role=img]')].map(node => node.ariaLabel)"
    )
    assert len(labels) == 3 and all("of results" in label for label in labels)
    browser.js("document.querySelector('[data-id=held_bytes]').click()")
    held = browser.js("[...document.querySelectorAll('[data-worker]')].map(tr => tr.dataset.worker)")
    facts = {row["name"]: row["held_bytes"] for row in ask(url, "snapshot")["workers"]}
    assert [facts[name] for name in held] == sorted(facts.values(), reverse=True)
    first = held[0]
    browser.js(f"document.querySelector('[data-worker=\"{first}\"] a').click()")
    browser.until("detail && document.querySelectorAll('#v-worker .card').length >= 4")
    shown = browser.text("#v-worker")
    worker = ask(url, "worker", name=first)
    assert worker["held"][0]["key"] in shown and worker["tasks"][0]["key"] in shown
    assert "connect" in shown and "loop delay" in shown
    assert f"GIL\n{'on' if is_gil_enabled() else 'off'}" in shown
    browser.js("document.querySelector(\"#v-worker a[href^='#/profile/']\").click()")
    browser.until("document.querySelector('#flame button') !== null")
    assert first in browser.text("#profile-of")


def check_data_and_graph(browser: Browser, url: str) -> None:
    browser.open(url + "#/data")
    browser.until("document.querySelector('.matrix') !== null")
    moved = sum(row[2] for row in ask(url, "snapshot")["transfers"])
    assert moved > 0
    assert browser.js("bytes(snapshot.transfers.reduce((sum, row) => sum + row[2], 0))") in browser.text("#movement")
    browser.open(url + "#/graph")
    browser.until("document.querySelectorAll('#graph rect').length > 5")
    graph = ask(url, "graph")
    assert graph["folded"]
    assert f"{graph['tasks']:,} tasks, folded by function" in browser.text("#graph-note")


def check_profile_and_timings(browser: Browser, url: str) -> None:
    browser.open(url + "#/profile")
    browser.until("document.querySelector('#flame button') !== null")
    assert "load" in browser.text("#flame")
    browser.js("document.querySelector('#flame button').click()")
    assert browser.js("flame.path.length") == 1
    browser.driver.find_element("id", "flame-out").click()
    assert browser.js("flame.path.length") == 0
    assert "profile.speedscope.json" in browser.js("document.getElementById('speedscope').href")
    browser.open(url + "#/timings")
    browser.until("document.querySelector('[data-metric=loop_delay] svg path') !== null")
    assert f"GIL\n{'on' if is_gil_enabled() else 'off'}" in browser.text("#scheduler")


def check_failures_and_log(browser: Browser, futures: dict[str, list[Any]]) -> None:
    browser.go("Failures")
    browser.until("document.querySelector('#failures pre') !== null")
    browser.js("document.querySelector('#failures summary').click()")
    shown = browser.text("#failures")
    assert "ValueError" in shown and "<b>no</b> value for 3" in shown and futures["risky"][3].key in shown
    browser.go("Log")
    browser.until("document.querySelectorAll('#events tbody tr').length >= 3")


def check_task(browser: Browser, url: str, future: Any) -> None:
    browser.driver.find_element("id", "key").send_keys(future.key, "\ue007")
    browser.until(
        "document.querySelector('#v-task .words') && "
        f"document.querySelector('#v-task h2').innerText.includes({json.dumps(future.key)})"
    )
    assert ask(url, "task", key=future.key)["explanation"][0] in browser.text("#v-task .words")


def check_function(browser: Browser, url: str, blocked: list[Any]) -> None:
    """From the function to its tasks, and what runs is in the stream before it has ended."""
    browser.go("Tasks")
    browser.until("document.querySelector('[data-function=\"Gate.hold\"] a') !== null")
    browser.until(
        "stream.running.length === 3 && stream.running.every(row => row[2] === 'Gate.hold' && row[4] > row[3])"
    )
    browser.js("document.querySelector('[data-function=\"Gate.hold\"] a').click()")
    browser.until("document.querySelectorAll('#v-function tbody tr').length === 4")
    told = ask(url, "function", name="Gate.hold")["tasks"]
    rows = browser.js("[...document.querySelectorAll('#v-function tbody tr')].map(tr => tr.innerText.split('\\t')[0])")
    assert rows == [row["key"] for row in told] and set(rows) == {future.key for future in blocked}
    browser.js("document.querySelector('#v-function tbody a').click()")
    browser.until("document.querySelector('#v-task .words') !== null")
    browser.open(url + "#/function/" + urllib.parse.quote(evil.__name__, safe=""))
    # Until then the page shows the function before.
    browser.until(f"document.querySelector('#v-function h2')?.innerText === {json.dumps(evil.__name__)}")


def check_looks(browser: Browser, url: str) -> None:
    """Dark and on a phone: nothing is wider than the screen."""
    browser.look_like(1280, 860, dark=True)
    browser.open(url + "#/tasks")
    browser.until("document.querySelector('[data-function]') !== null")
    assert browser.js("getComputedStyle(document.body).backgroundColor") == "rgb(14, 19, 25)"
    browser.look_like(390, 800, phone=True)
    for view in ("tasks", "workers", "data", "profile", "failures", "timings", "log"):
        browser.open(url + "#/" + view)
        browser.until(f"!document.getElementById('v-{view}').hidden")
        assert browser.js("document.documentElement.scrollWidth") <= 390, view
        browser.js("scrollTo(0, document.body.scrollHeight)")
        boxes = browser.js("[...document.querySelectorAll('nav a')].map(node => node.getBoundingClientRect().toJSON())")
        assert len(boxes) == 8 and all(0 <= box["left"] < box["right"] <= 390 for box in boxes), view
        assert all(0 <= box["top"] < box["bottom"] <= 800 for box in boxes), view
        if view == "tasks":
            browser.until("document.querySelector('[data-function]') !== null")
    browser.look_like(1280, 860)


def test_a_killed_worker_turns_up(browser: Browser) -> None:
    with Executor(2) as ex:
        names = list(ex.run(os.getpid))
        browser.open(ex.status_url + "#/workers")
        browser.until("document.querySelectorAll('[data-worker]').length === 2")
        pid = ex.workers()[names[0]]["pid"]
        os.kill(pid, signal.SIGKILL)
        browser.until(f"snapshot.workers.length === 2 && !snapshot.workers.some(row => row.pid === {pid})")
        browser.go("Log")
        browser.until("document.querySelector('#events td')")
        assert "SIGKILL" in browser.text("#events")
        assert browser.errors() == []
    browser.until("document.querySelector('.live.off') !== null")
    browser.errors()  # that nobody answers any more is said there, rightly


def test_a_report_is_the_page(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "run.html"
    with Executor(2) as ex, ex.report(path, "A <i>run</i>"):
        futures = work(ex, 1)
    browser.open(path.as_uri())
    browser.until("document.querySelector('[data-function]') !== null")
    assert browser.text("#title") == "A <i>run</i>"
    assert browser.cells('[data-function="load"]')[2] == str(len(futures["load"]))
    assert browser.js("stream.rows.filter(row => row[2] === 'load').length") == len(futures["load"])
    for view in ("workers", "data", "graph", "profile", "failures", "timings", "log"):
        browser.open(path.as_uri() + "#/" + view)
        browser.until(f"!document.getElementById('v-{view}').hidden")
    assert browser.errors() == []


def test_a_thousand_workers(browser: Browser) -> None:
    """Simulated ones: their rows are there, and the page draws them in time."""
    from futures_cluster import messages as m

    with Executor(1) as ex:
        ex.run(int)
        url = ex.status_url
        engine: Any = ex._engine
        service = engine.cluster.scheduler
        joined = [m.WorkerConnected(f"sim-{i}", f"address-{i}", 2, host=f"host-{i % 50}") for i in range(1000)]
        service.handle(joined)
        browser.open(url + "#/workers")
        browser.until("snapshot && snapshot.workers.length === 1001")
        browser.until("document.querySelectorAll('[data-worker]').length === 100")
        assert "100 of 1,001" in browser.text("#workers-note")
        browser.driver.find_element("id", "filter").send_keys("sim-77")
        browser.until("document.querySelectorAll('[data-worker]').length === 11")
        browser.open(url + "#/tasks")
        browser.until("stream.lanes.size >= 2000")
        # Each worker has its lanes next to each other, in the order of its number, and the first has its name.
        names = browser.js("[...stream.lanes.values()].map(lane => lane.label).filter(Boolean)")
        assert names == [*(f"sim-{i}" for i in range(1000)), "worker-0"]
        assert browser.errors() == []
        service.handle([m.WorkerGone(worker.worker, deliberate=True) for worker in joined])


def test_first_paint(browser: Browser) -> None:
    with Executor(1) as ex:
        browser.open(ex.status_url)
        browser.until("performance.getEntriesByType('paint').length > 0")
        # The bound is 300 ms on a quiet machine (benchmarks); here only that nothing waits for the network.
        names = browser.js("performance.getEntriesByType('resource').map(entry => new URL(entry.name).host)")
        assert set(names) == {ex.status_url.split("/")[2]}
