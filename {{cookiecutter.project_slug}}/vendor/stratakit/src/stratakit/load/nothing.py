"""The scenario that shows what the generator can do at most; see `ceiling`."""

from locust import FastHttpUser, task


class Nobody(FastHttpUser):
    """Asks again as soon as there is an answer."""

    @task
    def ask(self) -> None:
        """Ask for nothing."""
        self.client.get("/")
