"""Processes that hang, die and raise: every item is reported once, and the others go on."""

import multiprocessing

import pytest

from misbehaving import misbehave
from vitaclip.data.workers.processes import Outcome, run_in_processes


@pytest.mark.parametrize("processes", [1, 3])
def test_every_item_is_reported_once(processes: int) -> None:
    items = ["a", "hang", "b", "segfault", "c", "exit", "refuse", "raise", "hang", "d"]
    outcomes = list(run_in_processes(misbehave, items, processes, time_limit_seconds=1.0))
    assert sorted(outcome.item for outcome in outcomes) == sorted(items)
    reported = {outcome.item: outcome for outcome in outcomes}
    assert [reported[item] for item in "abcd"] == [Outcome(item, "done", item.upper()) for item in "abcd"]
    assert {item: (outcome.ending, outcome.problem) for item, outcome in reported.items() if outcome.problem} == {
        "hang": ("timed out", "took longer than the time limit"),
        "segfault": ("died", "ended the process that read it (SIGSEGV)"),
        "exit": ("died", "ended the process that read it (exit code 3)"),
        "refuse": ("refused", "not this one"),
        "raise": ("failed", "KeyError: 'two\\nlines'"),
    }
    assert not multiprocessing.active_children()


def test_one_process_answers_in_order() -> None:
    assert [outcome.item for outcome in run_in_processes(misbehave, "dacb", 1, 60.0)] == list("dacb")


def test_stopping_early_ends_the_processes() -> None:
    outcomes = run_in_processes(misbehave, ["a", "hang", "hang"], 2, 3600.0)
    assert next(outcomes).item == "a"
    outcomes.close()
    assert not multiprocessing.active_children()


def test_without_processes_items_are_done_here() -> None:
    outcomes = list(run_in_processes(misbehave, ["a", "refuse", "raise"], 0, 1.0))
    assert [(outcome.ending, outcome.result) for outcome in outcomes] == [
        ("done", "A"),
        ("refused", None),
        ("failed", None),
    ]


def test_no_items_and_no_sense() -> None:
    assert list(run_in_processes(misbehave, [], 2, 1.0)) == []
    for processes, limit in ((-1, 1.0), (1, 0.0)):
        with pytest.raises(ValueError, match="must not be negative"):
            next(run_in_processes(misbehave, ["a"], processes, limit))
