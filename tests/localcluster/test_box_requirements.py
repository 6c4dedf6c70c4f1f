"""A machine that cannot run a box is told so in one line that says what to do."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from localcluster import cli, namespace, preflight
from localcluster.errors import MissingRequirement
from localcluster.namespace import Namespace


@pytest.fixture
def without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Lets everything that a box needs be found, except one command."""

    def hide(command: str) -> None:
        for other in (*preflight.PACKAGES, "sh"):
            if other != command:
                (tmp_path / other).symlink_to(str(shutil.which(other, path=namespace.search_path())))
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr(namespace, "ADMIN_DIRECTORIES", str(tmp_path))

    return hide


@pytest.mark.parametrize(("command", "package"), preflight.PACKAGES.items())
def test_a_missing_command_is_named_with_its_package(
    command: str, package: str, without: Callable[[str], None]
) -> None:
    without(command)
    with pytest.raises(MissingRequirement) as refusal:
        preflight.check()
    assert str(refusal.value) == f"localcluster needs {command}: sudo apt-get install {package}"


def test_the_command_line_ends_with_2_and_one_line(
    without: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    without("nft")
    assert cli.main(["build"]) == 2
    said = capsys.readouterr()
    assert said.err == "localcluster: localcluster needs nft: sudo apt-get install nftables\n"
    assert said.out == ""


def test_commands_that_only_an_administrator_has_on_the_path_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    preflight.check()
    with contextlib.closing(Namespace()) as made:
        assert made.alive


def test_this_machine_passes() -> None:
    preflight.check()


@pytest.mark.parametrize(
    ("setting", "value", "remedy"),
    [
        (
            "kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        ("kernel/unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1"),
        ("user/max_user_namespaces", "0", "sysctl -w user.max_user_namespaces="),
    ],
)
def test_each_kernel_setting_that_forbids_it_is_named_with_its_remedy(
    setting: str, value: str, remedy: str, tmp_path: Path
) -> None:
    (tmp_path / setting).parent.mkdir()
    (tmp_path / setting).write_text(f"{value}\n")
    line = preflight.explain("unshare: unshare failed: Operation not permitted", proc_sys=tmp_path)
    assert remedy in line
    assert "\n" not in line


def test_a_refusal_without_a_known_reason_quotes_what_was_said(tmp_path: Path) -> None:
    line = preflight.explain("Error: Could not process rule:\nOperation not supported\n", proc_sys=tmp_path)
    assert line.endswith("Error: Could not process rule: Operation not supported")
