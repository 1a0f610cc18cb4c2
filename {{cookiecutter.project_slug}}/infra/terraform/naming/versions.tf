terraform {
  # mock_provider, used by the tests of the other modules, needs 1.7.
  required_version = ">= 1.7"
}
