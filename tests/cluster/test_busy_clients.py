"""A client that does not read for longer than any silence is borne, while results come: it gets all of them.

What the network says of it is in ``wire/test_liveness``, how silence is counted in ``services/test_heartbeats``.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from futures_cluster.testing.real_cluster import Cluster

SILENCE_S = 1
TASKS = 2000
RESULT_BYTES = 10_000
WAIT_S = 60

#: Gives up a scheduler that is silent for a second, and does not listen for longer than that.
CLIENT = f"""
import ctypes, sys
from futures_cluster import Executor
from futures_cluster.services.client import remote_cluster as remote

remote.SILENCE_S = {SILENCE_S}

def work(path):
    with open(path, "ab") as file:
        file.write(b"x")
    return bytes({RESULT_BYTES})

with Executor(backend=sys.argv[1]) as ex:
    futures = [ex.submit(work, sys.argv[2]) for _ in range({TASKS})]
    futures[0].result()
    while "is not known" in ex.explain(futures[-1]):  # what is not sent stops with this process
        pass
    print("submitted", flush=True)
    if sys.argv[3] == "holds":
        ctypes.PyDLL(None).sleep({3 * SILENCE_S})  # and with it the interpreter's lock
    print(sum(len(future.result({WAIT_S})) for future in futures), flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="stops a process")
@pytest.mark.parametrize("how", ["holds", "stopped"])
def test_a_busy_client_gets_its_results(how: str, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    with Cluster(tmp_path, "--silence", str(SILENCE_S)) as cluster:
        cluster.add_worker("--workers", "2", "--name", "w", "--silence", "30")
        command = [sys.executable, "-c", CLIENT, cluster.address, str(notes), how]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=cluster.environment, text=True) as client:
            try:
                assert client.stdout is not None and client.stdout.readline() == "submitted\n"
                if how == "stopped":
                    os.kill(client.pid, signal.SIGSTOP)
                    end = time.monotonic() + WAIT_S
                    while notes.stat().st_size < TASKS:
                        assert time.monotonic() < end
                        time.sleep(0.01)
                    time.sleep(3 * SILENCE_S)  # the length of the pause, not a synchronisation
                    os.kill(client.pid, signal.SIGCONT)
                assert client.communicate(timeout=2 * WAIT_S)[0] == f"{TASKS * RESULT_BYTES}\n"
                assert client.returncode == 0
            finally:
                client.kill()
        assert "dropping" not in cluster.scheduler.log
