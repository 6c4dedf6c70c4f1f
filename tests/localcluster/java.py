"""What tests of Java servers and clients have in common."""

from __future__ import annotations

import pytest

from localcluster import javabuild
from localcluster.errors import BinariesError


def _lacks() -> str:
    try:
        javabuild.jdk()
        javabuild.maven()
    except BinariesError as error:
        return str(error)
    return ""


needs_java = pytest.mark.skipif(bool(_lacks()), reason=_lacks() or "there is a JDK and Maven")
"""For a whole module: `pytestmark = needs_java`."""
