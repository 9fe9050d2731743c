"""Connections by address: the registry of transports, and those that come with this package."""
