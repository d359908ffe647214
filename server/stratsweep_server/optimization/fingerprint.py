"""Say what the outcomes of an optimization depend on beside its config, and what has changed of it.

A fingerprint has short texts by readable names:

    {"bars SPY": "sha256...", "engine": "default 0.1.0", "module ideas.trend": "sha256...",
     "numpy": "2.2.1", "python": "3.11.9", "instruction set": "x86_64 AVX AVX2"}

Files that a strategy reads itself are not in it.
"""

from __future__ import annotations

from collections.abc import Mapping

from stratsweep_server.backtest.inputs import INSTRUCTION_SET, MODULE_PREFIX
from stratsweep_server.execution.generation import Generation
from stratsweep_server.execution.packed_engine import GIVEN_OBJECTS

BARS_PREFIX = "bars "
"""What the names of the bars of each symbol begin with."""


def fingerprint_of(generation: Generation, bar_digests: Mapping[str, str]) -> dict[str, str]:
    """Return the fingerprint of an optimization, by name.

    Args:
        generation: The code that it runs on; a worker has loaded it.
        bar_digests: By symbol, those of the bars that its backtests are given, as `SharedBars` has
            them; empty for an engine that loads its own.
    """
    bars = {BARS_PREFIX + symbol: digest for symbol, digest in bar_digests.items()}
    return dict(sorted((bars | {**generation.inputs}).items()))


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Return a sentence for each thing that has changed, such as `numpy is 2.3.0 and was 2.2.1`.

    Args:
        before: The fingerprint of the outcomes that there are.
        after: That of outcomes that would be added to them.
    """
    return [
        _sentence(name, before.get(name), after.get(name))
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]


def _sentence(name: str, before: str | None, after: str | None) -> str:
    if name.startswith(BARS_PREFIX):
        return _change(f"the bars of {name.removeprefix(BARS_PREFIX)} have", before, after)
    if name.startswith(MODULE_PREFIX):
        return _change(f"the {name} has", before, after)
    if name == GIVEN_OBJECTS:
        return _change("what was given as functions or as an engine has", before, after)
    if before is None or after is None:
        presence = f"{after} is loaded and was not" if after else f"{before} is not loaded any more"
        return f"{name} {presence}"
    if name == INSTRUCTION_SET:
        return _other_instructions(before.split(), after.split())
    return f"{name} is {after} and was {before}"


def _change(what: str, before: str | None, after: str | None) -> str:
    if before is None or after is None:
        return f"{what} been {'added' if after else 'removed'}"
    return f"{what} changed"


def _other_instructions(before: list[str], after: list[str]) -> str:
    lacks = [each for each in before if each not in after]
    gains = [each for each in after if each not in before]
    parts = [
        f"{verb} {' '.join(names)}" for verb, names in (("lacks", lacks), ("adds", gains)) if names
    ]
    return f"the processor is another: it {' and '.join(parts)}"
