"""Takes the pictures of the status page for the documentation, docs/images/status-*.png.

    python docs/_ext/picture_status_page.py

Needs selenium, and Debian's chromium and chromium-driver. A program with tasks of several kinds runs meanwhile; the
picture of the demo is that of a report of `futures-cluster demo`.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from selenium import webdriver

from futures_cluster import Executor
from futures_cluster.demo import run as run_demo

IMAGES = Path(__file__).resolve().parents[1] / "images"
PATIENCE_S = 60

#: Compiled under a name of its own, which tracebacks on the page show.
PROGRAM = """
import math, time

def work(seconds):
    end = time.process_time() + seconds
    total = 0.0
    while time.process_time() < end:
        total += sum(math.sqrt(i) for i in range(2_000))
    return total

def read_month(month):
    time.sleep(0.2)
    return bytes(3_000_000)

def parse(part):
    work(0.02)
    return part[:1_000_000]

def daily_totals(part):
    return [work(0.005), len(part)]

def merge(*parts):
    return [sum(column) for column in zip(*parts)]

def read_airport(code):
    if code == "XNA":
        raise KeyError(f"no coordinates of {code}")
    return code, 40.7, -74.0

def gradient(setting, train):
    return work(0.02)

def loss(setting, test):
    return work(0.01)

def fit(setting, train, test):
    time.sleep(0.2)
    return gradient(setting, train) + loss(setting, test)

def score(model):
    return work(0.01)

def submit_all(ex):
    months = ex.map(read_month, range(24)).futures
    parts = [ex.submit(parse, month) for month in months]
    totals = [ex.submit(daily_totals, part) for part in parts]
    year = [ex.submit(merge, *totals[i : i + 6]) for i in range(0, 24, 6)]
    airports = ex.map(read_airport, ["EWR", "JFK", "LGA", "XNA", "ATL"]).futures
    models = [ex.submit(fit, i, parts[i % 24], parts[i * 7 % 24]) for i in range(600)]
    scores = [ex.submit(score, model) for model in models]
    return models, [parts, year, airports, scores]
"""


class Browser:
    """Headless Chromium in an emulated window."""

    def __init__(self, profile: str) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium") or ""
        for name in ("headless=new", "no-sandbox", "disable-gpu", "hide-scrollbars", f"user-data-dir={profile}"):
            options.add_argument(f"--{name}")
        self.driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))

    def look(self, width: int, height: int, *, dark: bool = False, scale: float = 1) -> None:
        """Set the size of the window and the colours that the user prefers."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": scale > 1}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})

    def until(self, condition: Callable[[], Any] | str) -> Any:
        """Wait until a condition, or an expression of JavaScript, is true; return its value."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            value = condition() if callable(condition) else self.driver.execute_script(f"return {condition}")
            if value:
                return value
            time.sleep(0.1)
        raise TimeoutError(f"{condition} was not true within {PATIENCE_S} s")

    def take(self, name: str) -> None:
        self.driver.save_screenshot(str(IMAGES / f"status-{name}.png"))
        print(f"status-{name}.png")


def take_live_pictures(browser: Browser) -> None:
    """Picture the page of an executor in the middle of its work."""
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(PROGRAM, "flights.py", "exec"), names)
    with Executor(4, memory_limit="400MB") as ex:
        url = ex.status_url
        browser.look(1280, 860)
        browser.driver.get(url)
        browser.until("snapshot && snapshot.workers.length === 4")
        models, kept = names["submit_all"](ex)
        browser.until(lambda: sum(model.done() for model in models) > 40)
        browser.take("tasks")
        worker = next(iter(ex.workers()))
        for view, ready, name in (
            ("workers", "document.querySelectorAll('[data-worker]').length === 4", "workers"),
            (f"worker/{worker}", "document.querySelectorAll('#v-worker tbody tr').length > 4", "worker"),
            ("function/fit", "document.querySelectorAll('#v-function tbody tr').length > 4", "function"),
            ("data", "document.querySelectorAll('#transfers td').length > 4", "data"),
            ("graph", "document.querySelector('#graph-note').innerText.includes('folded')", "graph"),
            ("profile", "document.querySelectorAll('#flame button').length > 8", "profile"),
            ("failures", "document.querySelector('#failures summary') !== null", "failures"),
        ):
            browser.driver.get(f"{url}#/{view}")
            browser.until(ready)
            if name == "failures":
                browser.driver.execute_script("document.querySelector('#failures summary').click()")
            browser.take(name)
        browser.look(1280, 860, dark=True)
        browser.driver.get(f"{url}#/tasks")
        browser.until("document.querySelector('[data-function]') !== null")
        browser.take("tasks-dark")
        browser.look(390, 800, scale=1.5)
        browser.driver.get(f"{url}#/tasks")
        browser.until("document.querySelector('[data-function]') !== null")
        browser.take("phone")
        ex.cancel_all(force=True)
        del kept


def take_demo_picture(browser: Browser, folder: Path) -> None:
    """Picture the report that the demo writes."""
    report = folder / "report.html"
    run_demo(workers=2, report=str(report))
    browser.look(1180, 1000)
    browser.driver.get(report.as_uri())
    browser.until("document.querySelector('[data-function]') !== null")
    browser.take("demo")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        browser = Browser(f"{temporary}/profile")
        try:
            take_live_pictures(browser)
            take_demo_picture(browser, Path(temporary))
        finally:
            browser.driver.quit()
