"""Fixtures for tests that need a cluster. pytest finds them by itself when this package is installed.

One box serves a whole test run, since starting one takes seconds; each test takes a namespace of its own in it. A test
module that needs another kind of box makes it in a fixture of its own, with `with Box(...) as box: yield box`.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from localcluster.api import ApiError
from localcluster.box import Box

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def box_options() -> dict[str, Any]:
    """The arguments of the shared `box`; override it in a conftest.py."""
    return {"nodes": 2}


@pytest.fixture(scope="session")
def box(request: pytest.FixtureRequest, box_options: dict[str, Any]) -> Iterator[Box]:
    """The box that all tests of the run share. Its logs stay in `build/localcluster` when a test has failed."""
    with Box(**{"name": f"pytest-{os.getpid()}", "keep_logs": False, **box_options}) as shared:
        yield shared
        shared.keep_logs = request.session.testsfailed > 0


@pytest.fixture
def make_namespace(box: Box) -> Iterator[Callable[[], str]]:
    """Makes Kubernetes namespaces in the shared box, ready for pods, and deletes them after the test."""
    made: list[str] = []

    def make() -> str:
        name = f"test-{next(_NUMBERS)}"
        box.api.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        made.append(name)
        path = f"/api/v1/namespaces/{name}/serviceaccounts/default"
        box.wait_until(lambda: box.api.answers(path), describe=f"the namespace {name} has its service account")
        return name

    yield make
    for name in made:
        with contextlib.suppress(ApiError):  # a test may have deleted it, or have ended the API server
            box.api.request("DELETE", f"/api/v1/namespaces/{name}")


@pytest.fixture
def kube_namespace(make_namespace: Callable[[], str]) -> str:
    """A Kubernetes namespace for this test alone."""
    return make_namespace()
