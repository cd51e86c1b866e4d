from django.test import Client
from pytest_django import Settings

from tests.cast import Issued


def test_example_names_the_public_address_and_not_the_hosts(
    issued: Issued, alice_client: Client, settings: Settings
) -> None:
    settings.KEYPORTAL_URL = "https://keys.example.com"
    page = alice_client.get("/", headers={"host": "localhost"}).content.decode()
    assert "https://keys.example.com/v1/projects" in page
    assert "localhost/v1" not in page
