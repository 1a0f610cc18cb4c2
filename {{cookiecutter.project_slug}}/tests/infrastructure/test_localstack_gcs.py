"""The client of Google Cloud Storage, on a local one: what a machine does with its checkpoints."""

from google.auth.credentials import AnonymousCredentials
from google.cloud import storage



def test_a_checkpoint_is_stored_listed_and_read(gcs: str) -> None:
    client = storage.Client("test", AnonymousCredentials(), client_options={"api_endpoint": gcs})
    bucket = client.create_bucket("acme-dev-checkpoints")
    bucket.blob("run-1/step-100").upload_from_string(b"weights")
    assert [each.name for each in client.list_blobs(bucket, prefix="run-1/")] == ["run-1/step-100"]
    assert bucket.blob("run-1/step-100").download_as_bytes() == b"weights"
    bucket.delete(force=True)
    assert [*client.list_buckets()] == []
