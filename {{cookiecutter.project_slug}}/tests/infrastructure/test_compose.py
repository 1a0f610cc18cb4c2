"""The Compose stack of a copy of the project: started, restarted, broken and taken down."""

from stratakit.testing.compose_suite import TestConfig, TestStack

__all__ = ["TestConfig", "TestStack"]
