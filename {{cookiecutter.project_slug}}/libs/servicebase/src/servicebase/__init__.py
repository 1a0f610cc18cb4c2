"""Code shared by the project's services. It belongs to the project: read it, change it.

Each module holds one idea. Those that load a driver (`postgres`, `redis`, `tables`, `migrations`)
are for adapters and models only: unit tests do not import them.
"""
