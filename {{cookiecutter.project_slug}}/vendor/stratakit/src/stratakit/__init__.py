"""The task graph of the project and the machinery behind it."""
