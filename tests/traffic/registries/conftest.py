"""A client that may go to this machine, where the tests' own servers are."""

from collections.abc import AsyncIterator

import pytest

from lossless.traffic.registries.client import Client, session


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    def anywhere(address: str) -> bool:
        return True

    async with session(allowed=anywhere) as http:
        yield Client(http, timeout=5, allowed=anywhere)
