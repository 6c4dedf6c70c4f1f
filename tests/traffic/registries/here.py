"""A container that is this machine: commands run here, with only the tools that a test leaves in its path."""

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path

from lossless.pods.exec import MAX_OUTPUT, ExecError, ExecResult


class Here:
    """Stands for `exec` into a container whose image has these tools, and no others."""

    def __init__(self, directory: Path, *tools: str) -> None:
        self.ran: list[list[str]] = []
        self.where: list[tuple[str, str, str]] = []
        self._path = directory / "bin"
        self._path.mkdir()
        self._sh = "sh" in tools
        for tool in tools:
            found = shutil.which(tool)
            assert found, f"this machine has no {tool}"
            (self._path / tool).symlink_to(found)

    async def __call__(self, namespace: str, pod: str, container: str, command: Sequence[str]) -> ExecResult:
        self.ran.append(list(command))
        self.where.append((namespace, pod, container))
        name = command[0]
        program = self._path / Path(name).name
        if not program.exists():
            # The words of runc, as the API server passes them on.
            raise ExecError(f'error executing command: exec: "{name}": executable file not found in $PATH: unknown')
        # The environment has a proxy, as that of many containers: nothing may be asked of it.
        env = {"PATH": str(self._path), "http_proxy": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1"}
        process = await asyncio.create_subprocess_exec(
            str(program), *command[1:], env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        try:
            output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return ExecResult(process.returncode or 0, output[:MAX_OUTPUT].decode(errors="replace"))
