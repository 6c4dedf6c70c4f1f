"""What the tests of the box run inside it, and what they make by hand."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from localcluster import Box

ANSWERING_SERVER = """
import asyncio, sys
host, port, name = sys.argv[1:]
async def answer(reader, writer):
    await reader.readuntil(b"\\r\\n\\r\\n")
    writer.write(f"HTTP/1.1 200 OK\\r\\nContent-Length: {len(name)}\\r\\nConnection: close\\r\\n\\r\\n{name}".encode())
    await writer.drain()
    writer.close()
async def main():
    server = await asyncio.start_server(answer, host, int(port))
    await server.serve_forever()
asyncio.run(main())
"""

ASKING_CLIENT = """
import sys, urllib.request
url, times, *host = sys.argv[1:]
for _ in range(int(times)):
    request = urllib.request.Request(url, headers={"Host": host[0]} if host else {})
    print(urllib.request.urlopen(request, timeout=5).read().decode())
"""


def ask(box: Box, address: str, times: int = 1, host: str | None = None) -> list[str]:
    """What a client inside the box is answered, each time over a new connection. Raises CommandFailed if once not."""
    argv = [sys.executable, "-I", "-c", ASKING_CLIENT, f"http://{address}/", str(times), *([host] if host else [])]
    return box.run(argv).stdout.split()


def bare_service(name: str, ns: str) -> dict[str, Any]:
    """A Service without a selector: nobody but the test writes its EndpointSlices."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": ns},
        "spec": {"ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
    }


def endpoint_slice(service: str, ns: str, addresses: list[str]) -> dict[str, Any]:
    """A hand-made EndpointSlice of a Service: these addresses, port 8080, all ready."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{service}-hand-made",
            "namespace": ns,
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in addresses],
    }


def processes_marked(mark: str) -> list[str]:
    """The command lines of all processes of this machine that have `mark` in their environment."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and mark.encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:  # it ended meanwhile, or is not ours to look at
            continue
    return found
