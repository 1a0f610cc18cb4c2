"""Gateway for language models: teams, API keys and quotas behind an OpenAI-compatible API."""
