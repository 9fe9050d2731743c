"""Limits that all clients of a scheduler share, declared by its command or by the first client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from status.looking import eventually

from futures_cluster import current_executor
from futures_cluster.errors import LimitError
from futures_cluster.testing.real_cluster import Cluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder: Path = tmp_path_factory.mktemp("limits")
    with Cluster(folder, "--limit", "api=1", "--limit", "disk=0.5", is_shared=True) as cluster:
        cluster.add_worker("--workers", "2")
        yield cluster


def submit_unknown() -> Any:
    return current_executor().with_options(limits={"unknown": 1}).submit(abs, -1).exception()


def test_the_first_declaration_counts_for_all_clients(cluster: Cluster) -> None:
    with cluster.executor(limits={"mail": 3}) as first, cluster.executor() as second:
        assert first.with_options(limits={"mail": 3, "disk": 0.5}).submit(abs, -1).result() == 1
        assert second.with_options(limits={"mail": 3}).submit(abs, -2).result() == 2  # declared by another client
        with pytest.raises(ValueError, match=r"limits\['mail'\] is 4 here, but 3 on the cluster"):
            cluster.executor(limits={"new": 1, "mail": 4})
        with pytest.raises(
            LimitError, match="'new', which is not declared"
        ):  # a client that was refused leaves nothing
            second.with_options(limits={"new": 1}).submit(abs, -1)
        with pytest.raises(LimitError, match="asks for 2 of the limit 'api', which is 1"):
            second.with_options(limits={"api": 2}).submit(abs, -1)


def test_what_a_task_submits_with_an_unknown_limit_fails(cluster: Cluster) -> None:
    with cluster.executor() as ex:
        error = ex.submit(submit_unknown).result()
        assert isinstance(error, ValueError) and "'unknown', which is not declared" in str(error)


def test_a_wrong_limit_is_refused_at_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    from futures_cluster.cli import main

    with pytest.raises(SystemExit):
        main(["scheduler", "--limit", "api"])
    assert "is not NAME=NUMBER" in capsys.readouterr().err
    assert main(["scheduler", "--limit", "api=1", "--limit", "api=2,disk=1"]) == 1
    assert "--limit has 1 and 2 for 'api'" in capsys.readouterr().err


def test_status_does_not_count_itself(cluster: Cluster) -> None:
    def said(line: str) -> bool:
        return line in cluster.run("status", cluster.address).splitlines()

    eventually(lambda: said("clients    0"))  # those of the tests before have left
    assert said("workers    2 with 2 slots on 1 host")
    with cluster.executor():
        assert said("clients    1")
