"""What can be said about the project without running it: `nox -s static`, and the commit hook."""
