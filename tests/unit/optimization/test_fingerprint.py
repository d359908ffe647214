"""Fingerprints, and the sentences that say how two of them differ."""

from __future__ import annotations

from pathlib import Path

import pytest
from stratsweep_server.backtest.sources import CopyPlace
from stratsweep_server.execution.generation import Generation
from stratsweep_server.optimization.fingerprint import differences, fingerprint_of

BEFORE = {
    "bars SPY": "a" * 64,
    "engine": "default 0.1.0",
    "given objects": "c" * 64,
    "instruction set": "x86_64 AVX AVX2",
    "module ideas.trend": "b" * 64,
    "numpy": "2.2.1",
    "python": "3.11.9",
}


def test_a_fingerprint_has_the_bars_by_symbol_and_what_is_loaded():
    generation = Generation(1, CopyPlace(-1, Path(), "1"), inputs={"numpy": "2.2.1"})
    assert fingerprint_of(generation, {"SPY": "a" * 64, "BRK.B": "b" * 64}) == {
        "bars BRK.B": "b" * 64,
        "bars SPY": "a" * 64,
        "numpy": "2.2.1",
    }
    assert fingerprint_of(generation, {}) == {"numpy": "2.2.1"}


def test_equal_fingerprints_do_not_differ():
    assert differences(BEFORE, dict(reversed(BEFORE.items()))) == []


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("bars SPY", "d" * 64, "the bars of SPY have changed"),
        ("bars SPY", None, "the bars of SPY have been removed"),
        ("bars QQQ", "d" * 64, "the bars of QQQ have been added"),
        ("module ideas.trend", "d" * 64, "the module ideas.trend has changed"),
        ("module ideas.trend", None, "the module ideas.trend has been removed"),
        ("module helper", "d" * 64, "the module helper has been added"),
        ("numpy", "2.3.0", "numpy is 2.3.0 and was 2.2.1"),
        ("numpy", None, "numpy 2.2.1 is not loaded any more"),
        ("pandas", "3.1.1", "pandas 3.1.1 is loaded and was not"),
        ("python", "3.12.1", "python is 3.12.1 and was 3.11.9"),
        ("engine", "default 0.2.0", "engine is default 0.2.0 and was default 0.1.0"),
        ("given objects", "d" * 64, "what was given as functions or as an engine has changed"),
        ("instruction set", "x86_64 AVX", "the processor is another: it lacks AVX2"),
        ("instruction set", "x86_64 AVX AVX2 F16C", "the processor is another: it adds F16C"),
        (
            "instruction set",
            "aarch64 NEON",
            "the processor is another: it lacks x86_64 AVX AVX2 and adds aarch64 NEON",
        ),
    ],
)
def test_each_difference_is_one_sentence_that_names_it(name, value, sentence):
    after = {**BEFORE, name: value}
    if value is None:
        del after[name]
    assert differences(BEFORE, after) == [sentence]


def test_all_differences_are_told_at_once():
    after = BEFORE | {"numpy": "2.3.0", "bars SPY": "d" * 64}
    assert len(differences(BEFORE, after)) == 2
