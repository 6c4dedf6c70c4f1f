"""One line an event, for people or for programs."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from lossless.telemetry import logs


@pytest.fixture
def restored() -> Iterator[None]:
    """The logging of the test run, as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    levels = {name: logging.getLogger(name).level for name in logs.CHATTER}
    yield
    root.handlers[:], root.level = handlers, level
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)


@pytest.fixture
def out(restored: None) -> io.StringIO:
    return io.StringIO()


def test_people_read_what_it_is_about(out: io.StringIO) -> None:
    logs.configure("text", "info", out)
    logging.getLogger("lossless.cluster.act").info("let %s", "in", extra={"rollout": "shop/web", "pod": "web-x"})
    line = out.getvalue()
    assert line.endswith("Z INFO    cluster.act: let in rollout=shop/web pod=web-x\n")


def test_programs_read_the_same(out: io.StringIO) -> None:
    logs.configure("json", "info", out)
    logging.getLogger("lossless.cluster.act").warning("let in", extra={"rollout": "shop/web", "verb": "admit"})
    said = json.loads(out.getvalue())
    assert said.pop("time")
    assert said == {
        "level": "WARNING",
        "logger": "lossless.cluster.act",
        "message": "let in",
        "rollout": "shop/web",
        "verb": "admit",
    }


@pytest.mark.parametrize("format", ["text", "json"])
def test_a_line_break_does_not_make_a_second_line(out: io.StringIO, format: str) -> None:
    logs.configure(format, "info", out)  # type: ignore[arg-type]
    logging.getLogger("lossless").info("held by x: a\nb")
    assert out.getvalue().count("\n") == 1


@pytest.mark.parametrize("format", ["text", "json"])
def test_a_traceback_comes_along(out: io.StringIO, format: str) -> None:
    logs.configure(format, "info", out)  # type: ignore[arg-type]
    try:
        raise RuntimeError("boom")
    except RuntimeError:
        logging.getLogger("lossless").exception("failed")
    assert "RuntimeError: boom" in out.getvalue()


@pytest.mark.parametrize("level", ["debug", "info"])
def test_libraries_only_warn(out: io.StringIO, level: str) -> None:
    logs.configure("text", level, out)
    for name in logs.CHATTER:
        logging.getLogger(name).info("my life story")
        logging.getLogger(f"{name}.deeper").debug("and its appendix")
    logging.getLogger("kopf").warning("the watch is gone")
    assert out.getvalue().count("\n") == 1


def test_what_kopf_hangs_on_records_is_left_out(out: io.StringIO) -> None:
    logs.configure("json", "info", out)
    logging.getLogger("kopf.reactor").warning("hm", extra={"settings": object(), "k8s_ref": {}, "k8s_skip": True})
    assert set(json.loads(out.getvalue())) == {"time", "level", "logger", "message"}


def test_to_configure_again_replaces(out: io.StringIO) -> None:
    logs.configure("text", "info", io.StringIO())
    logs.configure("text", "info", out)
    logging.getLogger("lossless").info("once")
    assert out.getvalue().count("once") == 1


@pytest.mark.parametrize(("format", "level"), [("xml", "info"), ("text", "loud")])
def test_what_is_no_format_or_level_is_refused(restored: None, format: str, level: str) -> None:
    with pytest.raises(ValueError, match=f"no log .*'{format if format == 'xml' else level}'"):
        logs.configure(format, level)  # type: ignore[arg-type]
