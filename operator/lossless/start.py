"""The first thing that runs: hears SIGTERM from the first moment on, then loads the rest.

To process 1 of a container the kernel delivers no signal that it has no handler for. Loading all that the operator is
made of takes a second, in which its pod may be told to end: unheard, it would run on, and lead, until its grace period
is over.
"""

import signal
import sys
from types import FrameType


def main() -> int:
    """The command ``lossless-operator``."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    from lossless import main as operator

    return operator.main()


def _end(number: int, frame: FrameType | None) -> None:
    """Nothing has begun yet, so nothing has to be ended in order."""
    sys.exit(0)


if __name__ == "__main__":
    sys.exit(main())
