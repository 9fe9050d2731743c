"""Reading Parquet: little at a time, in blocks along row groups."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")
pandas = pytest.importorskip("pandas")
parquet = pytest.importorskip("pyarrow.parquet")

from futures_cluster.glm import parquet as parquet_files
from futures_cluster.glm import sources
from futures_cluster.glm.columns import Features
from futures_cluster.glm.files import DataFile

ROWS = 100
COLUMNS = ["a", "b", "c", "d", "e"]


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Five columns, a target and weights, in row groups of 40, 40 and 20."""
    numbers = np.arange(7.0 * ROWS).reshape(ROWS, 7)
    frame = pandas.DataFrame(numbers, columns=[*COLUMNS[:2], "y", *COLUMNS[2:], "w"])
    frame.to_parquet(tmp_path / "t.parquet", index=False, row_group_size=40)
    return str(tmp_path / "t.parquet")


@pytest.mark.parametrize(("columns_at_once", "most"), [(0, 1), (2, 2), (100, 5)])
def test_some_columns_are_read_at_a_time(
    path: str, columns_at_once: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    plain = parquet.ParquetFile.read_row_group

    def read_row_group(file: Any, group: int, columns: list[str], **options: Any) -> Any:
        if "y" not in columns:
            read.append(len(columns))
        return plain(file, group, columns=columns, **options)

    monkeypatch.setattr(parquet.ParquetFile, "read_row_group", read_row_group)
    monkeypatch.setattr(parquet_files, "COLUMNS_BYTES", columns_at_once * 8 * 40)
    block = sources.from_file(DataFile(path, row_groups=[0, 1]), "y", "w", None, Features())
    assert max(read) == most and sum(read) == 2 * len(COLUMNS)
    expected = pandas.read_parquet(path).iloc[:80]
    np.testing.assert_array_equal(block.x, expected[COLUMNS])
    np.testing.assert_array_equal(block.y, expected["y"])
    np.testing.assert_array_equal(block.weights, expected["w"])
    assert block.columns == COLUMNS


@pytest.mark.parametrize(
    ("rows", "blocks"), [(1, [[0], [1], [2]]), (60, [[0], [1, 2]]), (80, [[0, 1], [2]]), (100, [[0, 1, 2]])]
)
def test_row_groups_are_joined_up_to_a_size(
    path: str, rows: int, blocks: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_files, "BLOCK_BYTES", rows * 8 * 7)
    assert parquet_files.row_groups_of(path) == blocks
