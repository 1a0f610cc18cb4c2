"""What is derived from the models' metadata: valid values, whole rows, and proofs of the schema."""
