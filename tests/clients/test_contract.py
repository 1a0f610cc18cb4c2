"""The contract of a backend, of the real engine."""

import pytest
from gateway.ports import InferenceBackend

from ...contracts.test_backend import *


@pytest.fixture
def backend(openai_backend: InferenceBackend) -> InferenceBackend:
    """The one that is held to it here."""
    return openai_backend
