"""Logs: one line an event, for people or for programs, with the rollout and the pod that it is about."""

import logging
import sys
from datetime import UTC, datetime
from typing import Final, Literal, TextIO

from pythonjsonlogger.json import JsonFormatter

EXTRAS: Final = ("rollout", "pod", "verb")
"""What a log line may be about: ``log.info("let in", extra={"rollout": "shop/web", "pod": "web-x"})``."""
CHATTER: Final = ("kopf", "aiohttp.access", "kubernetes", "asyncio")
"""Libraries that tell their life story below warnings."""

_KOPF_EXTRAS: Final = ("settings", "k8s_skip", "k8s_ref")
"""What kopf hangs on its own records, for its own handlers."""


class TextFormatter(logging.Formatter):
    """``12:00:00.250 INFO  reconcile  let in  rollout=shop/web pod=web-x``: for people; tracebacks follow in full."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and the traceback if there is one. A line break in the message can't pass for another line."""
        at = datetime.fromtimestamp(record.created, UTC)
        message = record.getMessage().replace("\r", "\\r").replace("\n", "\\n")
        extras = "".join(f" {name}={value}" for name in EXTRAS if (value := getattr(record, name, None)) is not None)
        where = record.name.removeprefix("lossless.")
        line = f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z {record.levelname:<7} {where}: {message}{extras}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def json_formatter() -> logging.Formatter:
    """One JSON object a line: time, level, logger, message, and whatever the record carries besides."""
    return JsonFormatter(
        "%(levelname)s %(name)s %(message)s",
        rename_fields={"levelname": "level", "name": "logger"},
        timestamp="time",
        reserved_attrs=[*_reserved(), *_KOPF_EXTRAS],
        json_ensure_ascii=False,
    )


def configure(format: Literal["text", "json"], level: str, stream: TextIO | None = None) -> None:
    """Send all logs to standard error (or `stream`) in one format, replacing whatever was set up before.

    Raises:
        ValueError: there is no such format or level.
    """
    if format not in ("text", "json"):
        raise ValueError(f"no log format {format!r}: it is text or json")
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError(f"no log level {level!r}: it is debug, info, warning or error")
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(json_formatter() if format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    for name in CHATTER:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))


def _reserved() -> list[str]:
    """The attributes that every record has."""
    return [*logging.makeLogRecord({}).__dict__, "asctime"]
