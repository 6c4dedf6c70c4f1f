"""Can this machine run a box? Each answer "no" is one line that says what to do about it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from localcluster.errors import MissingRequirement
from localcluster.namespace import UNSHARE, search_path

PACKAGES = {"unshare": "util-linux", "ip": "iproute2", "nft": "nftables"}
"""Each command a box needs, and the Debian and Ubuntu package that has it."""

PROBE = "ip link add probe0 type bridge && nft add table ip probe"
"""What a box does with its rights: links and packet rules."""


def check() -> None:
    """Return if a box can run here.

    Raises:
        MissingRequirement: it cannot; the message is one line.
    """
    if sys.platform != "linux":
        raise MissingRequirement(f"localcluster needs Linux; this is {sys.platform}")
    if missing := [command for command in PACKAGES if shutil.which(command, path=search_path()) is None]:
        packages = " ".join(dict.fromkeys(PACKAGES[command] for command in missing))
        raise MissingRequirement(f"localcluster needs {', '.join(missing)}: sudo apt-get install {packages}")
    done = subprocess.run(
        [*UNSHARE, "sh", "-c", PROBE],
        env={**os.environ, "PATH": search_path()},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise MissingRequirement(explain(done.stderr))


def explain(stderr: str, proc_sys: Path = Path("/proc/sys")) -> str:
    """One line for a probe that failed: the reason the kernel's settings give, else what the probe said.

    Args:
        proc_sys: where the kernel's settings are read; another one in tests.
    """

    def setting(name: str) -> str:
        try:
            return (proc_sys / name).read_text().strip()
        except OSError:
            return ""

    need = "localcluster needs unprivileged user namespaces"
    if setting("kernel/apparmor_restrict_unprivileged_userns") == "1":
        return f"{need}, which AppArmor restricts here: sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
    if setting("kernel/unprivileged_userns_clone") == "0":
        return f"{need}, which are switched off here: sudo sysctl -w kernel.unprivileged_userns_clone=1"
    if setting("user/max_user_namespaces") == "0":
        return f"{need}, of which none are allowed here: sudo sysctl -w user.max_user_namespaces=65536"
    said = " ".join(stderr.split())[-300:] or "nothing was said why"
    if said.startswith("unshare"):
        return f"{need}, which the kernel refuses (in a container, run that one with --privileged): {said}"
    return f"localcluster needs to set up a network of its own, which the kernel refuses: {said}"
