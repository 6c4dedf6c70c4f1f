"""What holds for every test."""

from __future__ import annotations

import os

import pytest

_skipped: list[str] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fast ones first; then those in a shared box, a package's together, and of these the long ones before the others,
    so that no worker is left with one of them in the end."""

    def when(item: pytest.Item) -> tuple[bool, bool]:
        return "box" in getattr(item, "fixturenames", ()), "e2e" not in item.nodeid

    items.sort(key=when)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped:
        _skipped.append(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A machine that lacks something may skip what needs it; CI may not."""
    if os.environ.get("CI") and _skipped and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if os.environ.get("CI") and _skipped:
        terminalreporter.write_line(f"CI accepts no skipped test: {', '.join(_skipped)}", red=True)
