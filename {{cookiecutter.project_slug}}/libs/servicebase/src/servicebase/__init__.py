"""What every service of the project needs alike. It is the project's own: read it, change it.

A service imports the modules, each of which holds one idea. Those that load a driver (`postgres`,
`redis`, `tables`, `migrations`) are for adapters and models alone: unit tests do without.
"""
