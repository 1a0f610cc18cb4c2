"""The ports, on real servers and in memory."""
