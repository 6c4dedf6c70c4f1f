"""A fake ZooKeeper: a tree with versions, in memory. tests/registries/test_dubbo_real.py has the same said by a real
one."""

from collections.abc import Callable

from lossless.traffic.registries.errors import Refused, RegistryError
from lossless.traffic.registries.zookeeper import Changed, Node


class FakeZnodes:
    """Keeps nodes; does what a test wants done before a write."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.writes: list[tuple[str, str]] = []
        self.before_write: Callable[[str], None] = lambda path: None
        self.sealed: set[str] = set()
        """Paths that an access control list keeps us from writing."""
        self.failing: RegistryError | None = None
        self.closed = False

    def have(self, path: str, data: str = "") -> None:
        """As another client would set it."""
        parts = path.split("/")
        for end in range(2, len(parts)):
            self.nodes.setdefault("/".join(parts[:end]), Node(b"", 0))
        old = self.nodes.get(path)
        self.nodes[path] = Node(data.encode(), old.version + 1 if old else 0)

    def lose(self, path: str) -> None:
        """As another client, or a session's end, would delete it."""
        del self.nodes[path]

    def text(self, path: str) -> str | None:
        node = self.nodes.get(path)
        return node.data.decode() if node else None

    async def get(self, path: str) -> Node | None:
        self._fail()
        return self.nodes.get(path)

    async def children(self, path: str) -> tuple[str, ...]:
        self._fail()
        below = path.rstrip("/") + "/"
        return tuple({name[len(below) :].split("/")[0] for name in self.nodes if name.startswith(below)})

    async def create(self, path: str, data: bytes) -> None:
        self._write("create", path)
        if path in self.nodes:
            raise Changed("there")
        self.have(path, data.decode())

    async def set(self, path: str, data: bytes, version: int) -> None:
        self._write("set", path)
        self._check(path, version)
        self.nodes[path] = Node(data, version + 1)

    async def delete(self, path: str, version: int) -> None:
        self._write("delete", path)
        self._check(path, version)
        del self.nodes[path]

    async def close(self) -> None:
        self.closed = True

    def _write(self, what: str, path: str) -> None:
        self._fail()
        if path in self.sealed:
            raise Refused("access control")
        self.before_write(path)
        self.writes.append((what, path))

    def _check(self, path: str, version: int) -> None:
        if path not in self.nodes or self.nodes[path].version != version:
            raise Changed("another version")

    def _fail(self) -> None:
        if self.failing:
            raise self.failing
