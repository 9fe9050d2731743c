"""Engines on clusters of other systems: Dask distributed and Ray."""
