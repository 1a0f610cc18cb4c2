"""Static checks of the project: `nox -s static`, and the pre-commit hook."""
