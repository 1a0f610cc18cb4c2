# The bucket for the machines' checkpoints, so that a preempted spot machine loses only minutes of work.

resource "aws_s3_bucket" "checkpoints" {
  #checkov:skip=CKV_AWS_18: only machines with one IAM role read and write it
  #checkov:skip=CKV_AWS_144: a checkpoint lives for days, and a run that loses it starts over
  #checkov:skip=CKV2_AWS_62: nothing subscribes to new checkpoints
  bucket = module.naming.bucket
  tags   = local.tags
}

resource "aws_s3_bucket_server_side_encryption_configuration" "checkpoints" {
  bucket = aws_s3_bucket.checkpoints.id

  rule {
    bucket_key_enabled = true

    apply_server_side_encryption_by_default {
      sse_algorithm = "aws:kms"
    }
  }
}

resource "aws_s3_bucket_versioning" "checkpoints" {
  bucket = aws_s3_bucket.checkpoints.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_public_access_block" "checkpoints" {
  bucket                  = aws_s3_bucket.checkpoints.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_lifecycle_configuration" "checkpoints" {
  # The provider polls for most of a minute until the rules are stable, so tests on a local AWS skip them.
  count = var.lifecycle_rules ? 1 : 0

  bucket = aws_s3_bucket.checkpoints.id

  rule {
    id     = "expire-checkpoints"
    status = "Enabled"

    filter {}

    expiration {
      days = var.checkpoint_days
    }

    noncurrent_version_expiration {
      noncurrent_days = 7
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }
}
