terraform {
  # mock_provider, which the tests of the other modules use, came with 1.7.
  required_version = ">= 1.7"
}
