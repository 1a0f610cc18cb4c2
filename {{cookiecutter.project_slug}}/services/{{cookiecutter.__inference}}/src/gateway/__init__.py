"""The gateway: teams, keys and quotas before language models, with an OpenAI-compatible API."""
