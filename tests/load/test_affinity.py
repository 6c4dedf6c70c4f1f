"""Callers with keys: each request says whose it is, and the results tell who was sent where."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

from localcluster.load.affinity import Move, homes, moves
from localcluster.load.connection import Request
from localcluster.load.generator import run
from localcluster.load.plan import Keyed, Plan
from localcluster.load.result import Cause, Result

from .misbehaving import misbehaving


def answered(key: str, pod: str, at: float) -> Result:
    return Result(f"t-{at}", "keyed", at, 0.0, 1.0, Cause.OK, 200, pod, key=key)


def test_a_move_is_an_answer_by_another_pod_than_the_last() -> None:
    results = [
        answered("a", "p1", 1),
        answered("b", "p2", 2),
        answered("a", "p3", 4),
        replace(answered("a", "p9", 3), cause=Cause.TIMEOUT),  # lost: it tells nothing of where a is sent
        answered("b", "p2", 5),
    ]
    assert moves(results) == (Move("a", 4, "p1", "p3"),)
    assert homes(results) == {"a": {"p1", "p3"}, "b": {"p2"}}


def test_the_key_is_sent_in_the_header() -> None:
    sent = Request("id", "web.example", "/", True, "x-user", "key-17").event()
    assert (b"x-user", b"key-17") in list(sent.headers)


async def test_every_user_asks_in_turn() -> None:
    results: list[Result] = []
    async with misbehaving() as server:
        plan = Plan(200, (Keyed(server.url(), keys=5),), duration=0.0975)
        await run(plan, results.append, asyncio.Event(), run_id="t")
    assert Counter(result.key for result in results) == {f"key-{number}": 4 for number in range(5)}
