"""Reading what a pod answers without trusting it to be short."""

import aiohttp

CHUNK = 64 * 1024


async def read(response: aiohttp.ClientResponse, limit: int) -> bytes | None:
    """The whole body; None, and the connection closed, where it is longer than `limit` bytes (decompressed)."""
    parts = []
    size = 0
    async for chunk in response.content.iter_chunked(CHUNK):
        size += len(chunk)
        if size > limit:
            response.close()
            return None
        parts.append(chunk)
    return b"".join(parts)


async def discard(response: aiohttp.ClientResponse, limit: int) -> None:
    """Read the body to its end, so that the connection can be used again; past `limit` bytes, close it instead."""
    size = 0
    async for chunk in response.content.iter_chunked(CHUNK):
        size += len(chunk)
        if size > limit:
            response.close()
            return
