"""The client of Google Cloud Storage, on a local one: what a machine does with its checkpoints."""

from collections.abc import Iterator

import pytest
from google.cloud import storage

from stratakit.infra import clouds


@pytest.fixture(scope="module")
def gcs() -> Iterator[storage.Client]:
    """A client of a local Google Cloud Storage, which alone it can reach."""
    with clouds.running("gcs"):
        yield storage.Client()


def test_a_checkpoint_is_stored_listed_and_read(gcs: storage.Client) -> None:
    bucket = gcs.create_bucket("acme-dev-checkpoints")
    bucket.blob("run-1/step-100").upload_from_string(b"weights")
    assert [each.name for each in gcs.list_blobs(bucket, prefix="run-1/")] == ["run-1/step-100"]
    assert bucket.blob("run-1/step-100").download_as_bytes() == b"weights"
    bucket.delete(force=True)
    assert [*gcs.list_buckets()] == []
