"""An HTTP request made inside a pod by whatever is there: curl, wget, or a shell that can open a connection.

For what listens on the pod's loopback only. The answer comes back as the output of a command, so little of it is kept.
Nothing secret may be sent: the command line is in the pod's process list and in the API server's audit log.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from lossless.pods.exec import MAX_OUTPUT, ExecError, ExecInPod, ExecResult
from lossless.traffic.registries.errors import Nonsense, Refused, RegistryError, Unreachable

NOT_FOUND: Final = (126, 127)
"""What shells, `env` and runtimes exit with for a command that is not there or cannot be run."""
CANNOT_CONNECT: Final = 7

_STATUS: Final = re.compile(r"^ *HTTP/[0-9.]+ ([0-9]{3})", re.MULTILINE)
_ANY_STATUS: Final = re.compile(r"HTTP/[0-9.]+ ([0-9]{3})")
_HEAD: Final = re.compile(r"HTTP/[0-9.]+ ([0-9]{3})[^\n]*\n(?:[^\r\n]+\r?\n)*\r?\n")
_WGET_HEADER: Final = re.compile(r"^  (HTTP/[0-9.]+ [0-9]{3}|[A-Za-z0-9-]+:).*\n", re.MULTILINE)
_UNKNOWN_OPTION: Final = re.compile(r"(unrecognized|invalid|unknown|illegal) option")
_NO_DEV_TCP: Final = re.compile(r"nonexist|no such file|not found", re.IGNORECASE)
_SCRIPT: Final = f"""
exec 3<>"/dev/tcp/$1/$2" || exit {CANNOT_CONNECT}
printf %s "$3" >&3
while IFS= read -r -t "$4" line <&3 || [ -n "$line" ]; do printf '%s\\n' "$line"; line=; done
"""
"""bash opens the connection itself, and so does a sh that is bash; others say that there is no such file."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A request."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: str


@dataclass(frozen=True, slots=True)
class Said:
    """What was answered."""

    status: int
    body: str | None
    """None: it cannot be known."""
    whole: bool = True
    """There was no more of the body than this."""


class _Unfit(Exception):
    """The tool is not there, or cannot do this."""


async def ask_in_pod(run: ExecInPod, namespace: str, pod: str, container: str, ask: Ask, timeout: float) -> Said:
    """Make a request inside a pod.

    Args:
        timeout: seconds for each tool that is tried. A command goes on for no longer than that by itself.

    Raises:
        Unreachable: no answer, or the command could not be run.
        Refused: the image has nothing to ask with, or we may not run commands in pods.
        Nonsense: an answer that is not HTTP.
    """
    for tool in (_curl, _wget, _bash, _sh):
        try:
            command = tool(ask, timeout)
            async with asyncio.timeout(timeout + 1):  # the tool's own timeout says more
                result = await run(namespace, pod, container, command)
            return _READ[tool](result)
        except _Unfit:
            continue
        except TimeoutError as error:
            raise Unreachable(f"no answer inside the pod within {timeout:g} s") from error
        except ExecError as error:
            if _is_missing(str(error)):
                continue
            raise _exec_failed(error) from error
    raise Refused("the container has neither curl nor wget nor a bash: name another one, or ask over the network")


def _curl(ask: Ask, timeout: float) -> list[str]:
    how = ["--head"] if ask.method == "HEAD" else ["-X", ask.method]
    sent = ["--data-raw", ask.body] if ask.body else []
    # -q: no .curlrc; -g: brackets are an address; no waiting for 100 Continue; no proxy of the container's environment.
    options = ["-q", "-s", "-S", "-g", "-i", "--noproxy", "*", "--max-time", f"{timeout:g}", *how, "-H", "Expect:"]
    return ["curl", *options, *_headers(ask, "-H"), *sent, ask.url]


def _read_curl(result: ExecResult) -> Said:
    if result.exit_code in (*NOT_FOUND, 2, 4):  # 2, 4: it lacks an option or was built without it
        raise _Unfit
    if result.exit_code:
        raise _nothing("curl", result)
    return _parsed(result.output)


def _wget(ask: Ask, timeout: float) -> list[str]:
    if ask.method not in ("GET", "POST"):
        raise _Unfit  # busybox knows no others
    sent = [f"--post-data={ask.body}"] if ask.method == "POST" else []
    # What GNU's and busybox' have in common. Neither leaves out the proxy or bounds its time in a way that the other
    # knows (busybox as Debian builds it crashes of -T), so other commands of the same packages do.
    options = ["-q", "-S", "-O", "-", *(f"--header={each}" for each in _header_lines(ask))]
    proxies = [part for name in ("http_proxy", "HTTP_PROXY", "https_proxy") for part in ("-u", name)]
    return ["env", *proxies, "timeout", _seconds(timeout), "wget", *options, *sent, ask.url]


def _read_wget(result: ExecResult) -> Said:
    output = result.output
    if result.exit_code in NOT_FOUND or (result.exit_code and _UNKNOWN_OPTION.search(output)):
        raise _Unfit
    statuses = [int(status) for status in _STATUS.findall(output) or _ANY_STATUS.findall(output)]
    final = [status for status in statuses if status >= 200]
    if result.exit_code:
        if not final or final[-1] < 300:
            raise _nothing("wget", result)
        return Said(final[-1], None)  # what came with an error is not shown
    return Said(final[-1] if final else 200, _WGET_HEADER.sub("", output), _is_whole(output))


def _bash(ask: Ask, timeout: float) -> list[str]:
    return ["bash", *_script(ask, timeout)]


def _sh(ask: Ask, timeout: float) -> list[str]:
    return ["/bin/sh", *_script(ask, timeout)]


def _script(ask: Ask, timeout: float) -> list[str]:
    url = urlsplit(ask.url)
    if url.scheme != "http":
        raise _Unfit
    target = f"{url.path or '/'}{'?' + url.query if url.query else ''}"
    body = ask.body
    length = [f"Content-Length: {len(body.encode())}"] if body or ask.method in ("POST", "PUT", "PATCH") else []
    # 1.0: then nobody answers in chunks, and the end of the connection is the end of the answer.
    lines = [
        f"{ask.method} {target} HTTP/1.0",
        f"Host: {url.netloc}",
        "Connection: close",
        *length,
        *_header_lines(ask),
    ]
    request = "\r\n".join([*lines, "", body])
    return ["-c", _SCRIPT, "ask", url.hostname or "", str(url.port or 80), request, _seconds(timeout)]


def _read_script(result: ExecResult) -> Said:
    if result.exit_code in NOT_FOUND or (result.exit_code and _NO_DEV_TCP.search(result.output)):
        raise _Unfit
    if not result.output or (result.exit_code and not result.output.startswith("HTTP/")):
        raise _nothing("the shell", result)
    return _parsed(result.output)


_READ: Final = {_curl: _read_curl, _wget: _read_wget, _bash: _read_script, _sh: _read_script}


def _seconds(timeout: float) -> str:
    """Whole ones: neither busybox nor an old bash knows fractions."""
    return str(max(1, round(timeout)))


def _header_lines(ask: Ask) -> list[str]:
    return [f"{name}: {value}" for name, value in ask.headers.items()]


def _headers(ask: Ask, option: str) -> list[str]:
    return [part for line in _header_lines(ask) for part in (option, line)]


def _parsed(output: str) -> Said:
    """A whole answer: head, empty line, body."""
    rest = output
    while match := _HEAD.match(rest):
        rest = rest[match.end() :]
        if int(match[1]) >= 200:
            return Said(int(match[1]), rest, _is_whole(output))
    status = _ANY_STATUS.match(rest)
    if status:  # headers alone are longer than what is kept
        return Said(int(status[1]), None)
    raise Nonsense("the answer inside the pod is not HTTP")


def _is_whole(output: str) -> bool:
    return len(output.encode()) < MAX_OUTPUT


def _nothing(tool: str, result: ExecResult) -> RegistryError:
    return Unreachable(f"no answer inside the pod ({tool} exited with {result.exit_code})")


def _is_missing(said: str) -> bool:
    return "executable file not found" in said or "no such file or directory" in said


def _exec_failed(error: ExecError) -> RegistryError:
    """Its text may repeat the command, so it is told only where it is the API server's own."""
    said = str(error)
    if not said.startswith("the API server refused it: "):
        return Unreachable("the command could not be run in the pod, or its end is not known")
    kind: Sequence[str] = said.split()
    return (Refused if "403" in kind or "401" in kind else Unreachable)(said[:100])
