"""Check the project without running it: `nox -s static`, and the hook of a commit."""
