"""The contract of a backend, tested on the real engine."""

import pytest
from gateway.ports import InferenceBackend

from ...contracts.test_backend import *


@pytest.fixture
def backend(openai_backend: InferenceBackend) -> InferenceBackend:
    """The backend under test."""
    return openai_backend
