"""What travels between our executor and other engines, pickled as they pickle it."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from futures_cluster.engines.external.payloads import StoredResult


@pytest.mark.parametrize("protocol", [4, 5])  # 4: through Dask's scheduler
@pytest.mark.parametrize("is_writable", [True, False])
def test_large_arrays_stay_writable_or_not(protocol: int, is_writable: bool) -> None:
    array = np.ones(100_000)
    array.flags.writeable = is_writable
    moved = pickle.loads(pickle.dumps(StoredResult(array, array.nbytes), protocol)).open()
    assert np.array_equal(moved, array) and moved.flags.writeable == is_writable
