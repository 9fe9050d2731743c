"""Several hosts, as network namespaces of this machine: a network that is cut and mended.

Covers: workers that see nothing of each other but the network. Does not cover: what one machine can show
(``test_network``). Needs root, iproute2 and util-linux; skipped where these are not there.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from futures_cluster import Executor, as_completed
from futures_cluster import messages as m
from futures_cluster.errors import DataLost
from futures_cluster.testing.real_cluster import Cluster
from futures_cluster.wire.transports import liveness, registry

WAIT_S = 90
BLOCKS = 12
SILENCE_S = 2


def _missing() -> str:
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "needs root, for network namespaces"
    for program in ("ip", "unshare"):
        if shutil.which(program) is None:
            return f"needs the program {program}"
    probe = subprocess.run(["ip", "netns", "add", f"fc{os.getpid()}p"], capture_output=True, text=True)
    if probe.returncode:
        return f"network namespaces do not work here: {probe.stderr.strip()}"
    subprocess.run(["ip", "netns", "del", f"fc{os.getpid()}p"], check=True)
    return ""


REASON = _missing()
pytestmark = [pytest.mark.skipif(bool(REASON), reason=REASON), pytest.mark.slow]


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


class Network:
    """Hosts behind a switch; this process is on the switch itself."""

    def __init__(self, hosts: int) -> None:
        self.name = f"fc{os.getpid() % 100_000}"
        self.subnet = f"10.213.{os.getpid() % 250}"
        self.hosts = hosts
        ip("link", "add", self.name, "type", "bridge")
        try:
            self._connect()
        except BaseException:
            self.close()
            raise

    def _connect(self) -> None:
        ip("addr", "add", f"{self.subnet}.1/24", "dev", self.name)
        ip("link", "set", self.name, "up")
        for number in range(self.hosts):
            inside, outside = f"{self.name}i{number}", f"{self.name}o{number}"
            ip("netns", "add", self.host(number))
            ip("link", "add", outside, "type", "veth", "peer", "name", inside)
            ip("link", "set", outside, "master", self.name, "up")
            ip("link", "set", inside, "netns", self.host(number))
            for arguments in (
                ("addr", "add", f"{self.subnet}.{number + 10}/24", "dev", inside),
                ("link", "set", inside, "up"),
                ("link", "set", "lo", "up"),
            ):
                ip("netns", "exec", self.host(number), "ip", *arguments)

    def host(self, number: int) -> str:
        return f"{self.name}h{number}"

    def prefix(self, number: int) -> list[str]:
        """To run a command there, where it sees no process of another host."""
        return [
            *("ip", "netns", "exec", self.host(number)),
            *("unshare", "--pid", "--fork", "--kill-child", "--mount-proc"),
        ]

    def cut(self, number: int) -> None:
        """What is sent to or by the host is lost."""
        ip("link", "set", f"{self.name}o{number}", "down")

    def mend(self, number: int) -> None:
        ip("link", "set", f"{self.name}o{number}", "up")

    def close(self) -> None:
        for number in range(self.hosts):
            with contextlib.suppress(subprocess.CalledProcessError):
                # Both ends, at once: the system takes its time to end those of a host that is gone.
                ip("link", "del", f"{self.name}o{number}")
            with contextlib.suppress(subprocess.CalledProcessError):
                ip("netns", "del", self.host(number))
        ip("link", "del", self.name)


@pytest.fixture
def network() -> Iterator[Network]:
    network = Network(3)
    try:
        yield network
    finally:
        network.close()


@pytest.fixture
def cluster(network: Network, tmp_path: Path) -> Iterator[Cluster]:
    """A scheduler beside this process, and a worker on each host."""
    host = f"{network.subnet}.1"
    with Cluster(tmp_path, "--host", host, "--silence", str(SILENCE_S)) as cluster:
        for number in range(3):
            options = ("--name", f"w{number}", "--silence", str(SILENCE_S), "--reconnect", "60")
            cluster.add_worker(*options, prefix=network.prefix(number))
        yield cluster


def add_one(array: np.ndarray) -> int:
    array += 1
    return int(array[0])


def make(i: int) -> np.ndarray:
    time.sleep(0.02)
    return np.random.default_rng(i).integers(0, 1000, (BLOCKS, 40_000))


def pick(block: np.ndarray, j: int) -> np.ndarray:
    time.sleep(0.02)
    return block[j].copy()


def total(parts: list[np.ndarray]) -> int:
    time.sleep(0.02)
    return int(sum(part.sum() for part in parts))


def expected() -> list[int]:
    blocks = [np.random.default_rng(i).integers(0, 1000, (BLOCKS, 40_000)) for i in range(BLOCKS)]
    return [int(sum(block[j].sum() for block in blocks)) for j in range(BLOCKS)]


def wait_for(condition: object) -> None:
    end = time.monotonic() + WAIT_S
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.02)


def shuffle(ex: Executor) -> tuple[list[concurrent.futures.Future[object]], list[concurrent.futures.Future[object]]]:
    blocks = [ex.submit(make, i) for i in range(BLOCKS)]
    picked = [[ex.submit(pick, block, j) for block in blocks] for j in range(BLOCKS)]
    totals = [ex.submit(total, parts) for parts in picked]
    return [part for parts in picked for part in parts], totals


def test_workers_on_hosts_of_their_own(cluster: Cluster) -> None:
    with cluster.executor() as ex:
        facts = ex.workers()
        assert len({worker["address"].rpartition(":")[0] for worker in facts.values()}) == 3
        array = np.arange(500_000)
        assert ex.submit(np.sum, ex.with_options(workers="w0").submit(np.copy, array)).result(WAIT_S) == array.sum()
        scattered = ex.scatter(array, replicas=2)
        assert ex.submit(np.sum, scattered).result(WAIT_S) == array.sum()
        for name in facts:  # each task has it to itself, also where it came over the network
            one = ex.with_options(workers=name)
            assert [one.submit(add_one, scattered).result(WAIT_S) for _ in range(3)] == [1] * 3


@pytest.mark.parametrize("is_long", [False, True], ids=["shorter than the silence", "longer than the silence"])
def test_a_partition_in_the_middle_of_a_shuffle(cluster: Cluster, network: Network, is_long: bool) -> None:
    with cluster.executor() as ex:
        picked, totals = shuffle(ex)
        resolved: list[int] = []
        for j, future in enumerate(totals):
            future.add_done_callback(lambda _, j=j: resolved.append(j))
        for _ in zip(range(20), as_completed(picked), strict=False):
            pass
        network.cut(1)
        if is_long:
            wait_for(lambda: f"it said nothing for {SILENCE_S} s" in cluster.scheduler.log)
        else:
            time.sleep(SILENCE_S / 4)  # the length of the partition, not a synchronisation
        network.mend(1)
        assert [future.result(WAIT_S) for future in totals] == expected()
        wait_for(lambda: len(resolved) == BLOCKS)
        assert sorted(resolved) == list(range(BLOCKS))
        wait_for(lambda: len(ex.workers()) == 3)  # it is back, as a new one if it was given up
        assert ex.with_options(workers="w1").submit(pow, 2, 2).result(WAIT_S) == 4


def test_a_host_that_is_gone(cluster: Cluster, network: Network) -> None:
    with cluster.executor() as ex:
        picked, totals = shuffle(ex)
        for _ in zip(range(20), as_completed(picked), strict=False):
            pass
        network.cut(2)
        assert [future.result(WAIT_S) for future in totals] == expected()
        assert "w2" not in ex.workers()
        network.mend(2)


def test_workers_that_do_not_reach_each_other(cluster: Cluster, network: Network) -> None:
    """The scheduler sees all of them: what cannot be fetched is made again where it is needed, or fails in words."""
    with cluster.executor() as ex:
        first = ex.with_options(workers="w0").submit(np.ones, 200_000)  # may be made nowhere else
        blocks = [ex.submit(np.full, 100_000, i) for i in range(9)]
        concurrent.futures.wait([first, *blocks])
        addresses = {name: worker["address"] for name, worker in ex.workers().items()}
        host = addresses["w0"].removeprefix("tcp://").rpartition(":")[0]
        for number in (1, 2):
            ip("netns", "exec", network.host(number), "ip", "route", "add", "prohibit", f"{host}/32")
        away = ex.with_options(workers=["w1", "w2"])
        with pytest.raises(DataLost, match="can these machines connect to each other"):
            away.submit(np.sum, first).result(WAIT_S)
        sums = [away.submit(np.sum, block) for block in blocks]
        assert [future.result(WAIT_S) for future in sums] == [i * 100_000 for i in range(9)]
        # What others could not get is there for those that can.
        assert ex.with_options(workers="w0").submit(np.sum, first).result(WAIT_S) == first.result(WAIT_S).sum()
        assert "cannot connect to the worker at" in "".join(command.log for command in cluster.commands)


def test_a_third_worker_reaches_both(cluster: Cluster, network: Network) -> None:
    with cluster.executor() as ex:
        there = ex.with_options(workers="w0")
        made, scattered = there.submit(np.ones, 200_000), there.scatter(np.ones(200_000))
        concurrent.futures.wait([made])
        host = ex.workers()["w0"]["address"].removeprefix("tcp://").rpartition(":")[0]
        ip("netns", "exec", network.host(1), "ip", "route", "add", "prohibit", f"{host}/32")
        away = ex.with_options(workers="w1")
        assert away.submit(np.sum, made).result(WAIT_S) == 200_000
        assert away.submit(np.sum, scattered).result(WAIT_S) == 200_000


@pytest.fixture
def separate_files(network: Network, tmp_path: Path) -> Iterator[Cluster]:
    """A worker on each of two hosts, which have a folder for temporary files of their own."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    mounted = ["env", f"TMPDIR={temporary}", "sh", "-c", 'mount -t tmpfs none "$TMPDIR" && exec "$@"', "sh"]
    with Cluster(tmp_path, "--host", f"{network.subnet}.1") as cluster:
        for number in range(2):
            cluster.add_worker("--name", f"w{number}", prefix=[*network.prefix(number), *mounted])
        yield cluster


def test_shuffles_of_dask_lose_no_rows(separate_files: Cluster) -> None:
    """Dask chooses files unless it is told of a scheduler before the graph is made."""
    dask, db, dd, pd = (pytest.importorskip(name) for name in ("dask", "dask.bag", "dask.dataframe", "pandas"))
    table = pd.DataFrame({"k": range(1000), "v": [i * 7919 % 1000 for i in range(1000)]})
    df = dd.from_pandas(table, npartitions=10)
    with separate_files.executor() as ex:
        wait_for(lambda: len(ex.workers()) == 2)
        assert sorted(df.shuffle("k").compute(scheduler=ex).k) == list(range(1000))
        assert sorted(ex.compute(df.shuffle("k")).result(WAIT_S).k) == list(range(1000))
        assert sorted(ex.persist(df.shuffle("k")).compute(scheduler=ex).k) == list(range(1000))
        with dask.config.set(scheduler="sync"):  # it finds the divisions
            assert df.set_index("v").compute(scheduler=ex).index.tolist() == list(range(1000))
        assert df.k.value_counts(split_out=4).compute(scheduler=ex).sum() == 1000
        assert len(df.merge(df, on="k").compute(scheduler=ex)) == 1000
        groups = db.range(1000, npartitions=10).groupby(lambda i: i % 7).map(lambda group: len(group[1]))
        assert sum(groups.compute(scheduler=ex)) == 1000


#: Connects, says so, and reads nothing more.
DEAF = """
import asyncio, sys
from futures_cluster.messages import DropData
from futures_cluster.wire.transports import registry as transports

async def main():
    loop = asyncio.get_running_loop()
    connection = await transports.connect(sys.argv[1], loop, transports.Security(sys.argv[2].encode()))
    connection.send([DropData(["ready"])])
    await loop.create_future()

asyncio.run(main())
"""


@pytest.mark.parametrize("is_full", [False, True], ids=["with data under way", "with a closed window"])
def test_a_host_that_is_gone_is_noticed_by_what_it_does_not_acknowledge(
    network: Network, is_full: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No keepalive asks while data is under way, and peers that send data to each other say nothing else."""
    monkeypatch.setattr(liveness, "GONE_S", 2.0)
    secret = "a secret of some length, for tests"

    async def run() -> BaseException | None:
        loop = asyncio.get_running_loop()
        ready, ended = loop.create_future(), loop.create_future()

        def take(connection: Any) -> None:
            connection.on_messages = lambda messages: ready.set_result(connection)
            connection.on_close = ended.set_result
            connection.start()

        address = f"tcp://{network.subnet}.1:0"
        listener = await registry.listen(address, loop, registry.Security(secret.encode()), take)
        command = [*network.prefix(0), sys.executable, "-c", DEAF, listener.address, secret]
        deaf = await asyncio.create_subprocess_exec(*command)
        try:
            connection = await asyncio.wait_for(ready, WAIT_S)
            if is_full:
                connection.send([m.DropData(["x" * 30_000_000])])
                before = -1
                while connection.pending_bytes != before:  # until the window is closed
                    before = connection.pending_bytes
                    await asyncio.sleep(0.2)
            network.cut(0)
            if not is_full:
                connection.send([m.DropData(["x"])])
            error: BaseException | None = await asyncio.wait_for(ended, WAIT_S)
            return error
        finally:
            deaf.kill()
            await deaf.wait()
            listener.close()

    error = asyncio.run(run())
    assert isinstance(error, TimeoutError) and "its host has acknowledged nothing for 2 s" in str(error)
