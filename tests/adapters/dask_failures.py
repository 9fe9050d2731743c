"""Dask's own tests that cannot pass on an executor, each with the reason.

Keys are the beginnings of names ``module::test``. What fails with Dask's threaded scheduler, too, says so.
"""

from __future__ import annotations

_SAME_OBJECT = "expects the very object that it put into the graph; a process gets a copy"
_CALLBACKS = "counts by dask.callbacks, or by side effects in its own memory; only Dask's own schedulers do that"
_DEFAULTS = "expects that there is no default scheduler"
_CONCRETE = "expects that persist() leaves values in the graph; here these are futures"

_WARNINGS = "expects a warning of a task in its own process"
_INTO_MEMORY = "stores into memory of its own process, or counts calls there, or has plain locks"
_H5PY = "h5py's files and arrays do not pickle"
_GENERATOR = "a generator does not pickle"
_BY_FILES = "counts what a shuffle by way of files makes; here data frames are shuffled by tasks"
_ANYWHERE = "fails with Dask's own threads, too: numpy does not give the warning that it expects"
_SHUFFLE = "is about Bag.groupby by way of files; by way of tasks Dask has other partitions, and takes only functions"

EXPECTED: dict[str, str] = {
    "dask.array.tests.test_array_core::test_from_array_getitem[False-True]": _INTO_MEMORY,
    "dask.array.tests.test_array_core::test_from_array_getitem[True-True]": _INTO_MEMORY,
    "dask.array.tests.test_array_core::test_from_array_with_lock": _SAME_OBJECT,
    "dask.array.tests.test_array_core::test_h5py_newaxis": _H5PY,
    "dask.array.tests.test_array_core::test_store": _INTO_MEMORY,
    "dask.array.tests.test_array_core::test_to_hdf5": _H5PY,
    "dask.array.tests.test_array_core::test_zarr_existing_array": _INTO_MEMORY,
    "dask.array.tests.test_array_core::test_zarr_regions": _INTO_MEMORY,
    "dask.array.tests.test_array_core::test_zarr_risky_shards_warns": _INTO_MEMORY,
    "dask.array.tests.test_array_core::test_zarr_to_zarr_shards": _INTO_MEMORY,
    "dask.array.tests.test_reductions::test_array_cumreduction_axis[blelloch-None": _WARNINGS,
    "dask.array.tests.test_reductions::test_nanquantile_all_nan": _ANYWHERE,
    "dask.array.tests.test_routines::test_average_raises": _WARNINGS,
    "dask.array.tests.test_ufunc::test_frompyfunc": "a ufunc of numpy.frompyfunc does not pickle",
    "dask.array.tests.test_wrap::test_full_detects_da_dtype": _WARNINGS,
    "dask.array.tests.test_xarray::test_shared_tasks": _INTO_MEMORY,
    "dask.bag.tests.test_bag::test_bag_with_single_callable": _SAME_OBJECT,
    "dask.bag.tests.test_bag::test_from_delayed_iterator": _GENERATOR,
    "dask.bag.tests.test_bag::test_groupby_with_indexer": _SHUFFLE,
    "dask.bag.tests.test_bag::test_groupby_with_npartitions_changed": _SHUFFLE,
    "dask.bag.tests.test_bag::test_msgpack_unicode": _SHUFFLE,
    "dask.bag.tests.test_bag::test_reductions_are_lazy": _GENERATOR,
    "dask.bag.tests.test_bag::test_repartition_partition_size_complex_dtypes": _SAME_OBJECT,
    "dask.bag.tests.test_bag::test_take_npartitions_warn": _WARNINGS,
    "dask.bag.tests.test_bag::test_temporary_directory": _SHUFFLE,
    "dask.bag.tests.test_bag::test_to_delayed_optimize_graph": _CALLBACKS,
    "dask.bag.tests.test_text::test_files_per_partition": _WARNINGS,
    "dask.dataframe.dask_expr.tests.test_collection::test_head": _WARNINGS,
    "dask.dataframe.dask_expr.tests.test_fusion::test_fusion_executes_only_once": _INTO_MEMORY,
    "dask.dataframe.dask_expr.tests.test_merge::test_merge_combine_similar[2-3]": _BY_FILES,
    "dask.dataframe.dask_expr.tests.test_partitioning_knowledge::test_avoid_shuffle": _BY_FILES,
    "dask.dataframe.dask_expr.tests.test_partitioning_knowledge::test_groupby_avoid_shuffle": _BY_FILES,
    "dask.dataframe.dask_expr.tests.test_partitioning_knowledge::test_merge_avoid_shuffle": _BY_FILES,
    "dask.dataframe.dask_expr.tests.test_partitioning_knowledge::test_merge_shuffle_if_different_order": _BY_FILES,
    "dask.dataframe.dask_expr.tests.test_partitioning_knowledge::test_shuffle_after_only_blockwise_merge": _BY_FILES,
    "dask.dataframe.io.tests.test_io::test_from_map_column_projection": _INTO_MEMORY,
    "dask.dataframe.io.tests.test_parquet::test_filter_isna": "a filter says `is numpy.nan`; a process has a copy",
    "dask.dataframe.io.tests.test_parquet::test_fsspec_to_parquet_filesystem_option": _INTO_MEMORY,
    "dask.dataframe.tests.test_dataframe::test_head_npartitions_warn": _WARNINGS,
    "dask.dataframe.tests.test_dataframe::test_use_of_weakref_proxy": _SAME_OBJECT,
    "dask.dataframe.tests.test_extensions::test_register_extension_type": (
        "compares decimal contexts, which are only equal to themselves, and not to their copies in another process"
    ),
    "dask.dataframe.tests.test_shuffle::test_disk_shuffle_with_unknown_compression": _BY_FILES,
    "dask.tests.test_base::test_compute_array_bag": _DEFAULTS,
    "dask.tests.test_base::test_compute_no_opt": _CALLBACKS,
    "dask.tests.test_base::test_custom_collection": _CONCRETE,
    "dask.tests.test_base::test_get_scheduler": _DEFAULTS,
    "dask.tests.test_base::test_persist_array_bag": _DEFAULTS,
    "dask.tests.test_base::test_persist_delayed_custom_key": _CONCRETE,
    "dask.tests.test_delayed::test_callable_obj": _SAME_OBJECT,
    "dask.tests.test_delayed::test_traverse_false": _SAME_OBJECT,
    "dask.tests.test_graph_manipulation::test_bind": _CALLBACKS,
    "dask.tests.test_graph_manipulation::test_checkpoint": _CALLBACKS,
    "dask.tests.test_graph_manipulation::test_wait_on": _CALLBACKS,
}
