"""The client of Google Cloud Storage, on a local one: what a machine does with its checkpoints."""

from collections.abc import Iterator

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage  # type: ignore[import-untyped]  # It has no types.

from stratakit.infra import clouds


@pytest.fixture(scope="module")
def gcs() -> Iterator[str]:
    """The endpoint of a local Google Cloud Storage."""
    with clouds.running("gcs") as endpoint:
        yield endpoint


def test_a_checkpoint_is_stored_listed_and_read(gcs: str) -> None:
    nobody = AnonymousCredentials()  # type: ignore[no-untyped-call]  # It has no types.
    client = storage.Client("test", nobody, client_options={"api_endpoint": gcs})
    bucket = client.create_bucket("acme-dev-checkpoints")
    bucket.blob("run-1/step-100").upload_from_string(b"weights")
    assert [each.name for each in client.list_blobs(bucket, prefix="run-1/")] == ["run-1/step-100"]
    assert bucket.blob("run-1/step-100").download_as_bytes() == b"weights"
    bucket.delete(force=True)
    assert [*client.list_buckets()] == []
