"""A client, and the server that it asks."""

import threading
from collections.abc import Iterator

import pytest

from harness.serve.client import Client
from tests.serve.asked import KEY, Asked


@pytest.fixture
def asked() -> Iterator[Asked]:
    server = Asked()
    with server.http:
        thread = threading.Thread(target=server.http.serve_forever)
        thread.start()
        yield server
        server.http.shutdown()
        thread.join()


@pytest.fixture
def client(asked: Asked) -> Iterator[Client]:
    with Client(f"http://127.0.0.1:{asked.http.server_port}", KEY, timeout_s=20) as made:
        yield made
