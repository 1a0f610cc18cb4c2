"""Adapters of the ports, on real servers and in memory."""
