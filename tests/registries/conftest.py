"""What tests of registries share: a client that may go to this machine itself, where the fakes are."""

from collections.abc import AsyncIterator

import pytest

from lossless.traffic.registries.client import Client, session
from lossless.traffic.registries.registry import Instance


def anywhere(_: str) -> bool:
    """Instead of the guard, which would refuse 127.0.0.1. The guard itself: test_client.py."""
    return True


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    made = Client(session(allowed=anywhere), timeout=30, allowed=anywhere)
    yield made
    await made.close()


def pod(ip: str, port: int | None = 8080, original: str = "") -> Instance:
    return Instance(
        uid=f"uid-{ip}", namespace="ns", name=f"web-{ip}", node="node-1", addresses=(ip,), port=port, original=original
    )
