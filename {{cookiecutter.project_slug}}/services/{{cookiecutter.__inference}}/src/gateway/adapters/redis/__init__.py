"""Ports on Redis or Valkey."""
