"""Other libraries on our executor: Dask's collections (``dask`` and the modules beside it), ``joblib``.

Covers: what is only imported when such a library is used. Does not cover: anything that the executor itself needs;
numpy, dask and the like are never loaded by the core.
"""
