"""Locust users of the service, run by `nox -s load`."""

from http import HTTPStatus
from uuid import uuid4

from locust import FastHttpUser, task

PATH = "/v1/{{ cookiecutter.__resources }}"
ONE = f"{PATH}/[id]"
"""Name of requests that differ only in the id."""


class Editor(FastHttpUser):
    """User who works through one resource after another, without a pause."""

    @task
    def create_to_delete(self) -> None:
        """Go through a whole lifecycle."""
        created = self.client.post(PATH, json={"name": uuid4().hex})
        if created.status_code != HTTPStatus.CREATED:
            return
        place = f"{PATH}/{created.json()['id']}"
        self.client.get(place, name=ONE)
        self.client.patch(place, json={"quantity": 4}, name=ONE)
        self.client.get(PATH)
        self.client.delete(place, name=ONE)
