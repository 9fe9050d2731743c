"""Other libraries' collections on an executor: Dask's (``dask``).

Covers: what is only imported when such a library is used. Does not cover: anything that the executor itself needs;
numpy, dask and the like are never loaded by the core.
"""
