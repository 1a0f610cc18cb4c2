"""Scenario that measures the generator's own maximum; see `ceiling`."""

from locust import FastHttpUser, task


class Nobody(FastHttpUser):
    """User that sends the next request as soon as it has a response."""

    @task
    def ask(self) -> None:
        """Request the root path."""
        self.client.get("/")
