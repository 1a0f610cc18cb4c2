"""The ports that Redis answers; Valkey does as well."""
