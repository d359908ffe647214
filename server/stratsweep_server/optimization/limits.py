"""Limit what a request may have, so that a hostile or careless one costs only itself.

The contract's comments and `docs/limits.md` say the same. The size of the grid is the server's
option (`--max-combinations`), the bytes of a request are gRPC's limit (4 MB).
"""

from __future__ import annotations

DEFAULT_MAX_COMBINATIONS = 1_000_000
"""Of a grid, before constraints."""
MAX_PARAMETERS = 64
"""Axes of a grid."""
MAX_SYMBOLS = 1_000
MAX_CONSTRAINTS = 100
MAX_REQUIREMENTS = 100
MAX_CONSTRAINT_CHARACTERS = 500
"""Of one constraint or requirement."""
MAX_REQUIREMENT_CHARACTERS = 2_000
"""Of all requirements together: what they take is taken for each result, on the event loop, too."""
MAX_CONSTRAINT_DEPTH = 8
"""Parentheses within parentheses."""
MAX_CONSTRAINT_SECONDS = 60.0
"""Of processor time that the constraints of a request may take, all together."""
MAX_NAME_CHARACTERS = 250
"""Of a strategy, a symbol, a parameter, or a metric."""
MAX_TEXT_CHARACTERS = 1_000
"""Of a text among a parameter's values."""
MAX_LABELS = 16
"""Of a request."""
MAX_LABEL_KEY_CHARACTERS = 64
MAX_LABEL_VALUE_CHARACTERS = 256
MAX_BACKTEST_TIMEOUT_SECONDS = 315_576_000_000.0
"""Ten thousand years: the longest duration that the contract has."""
MAX_VIOLATIONS = 100
"""That are looked for: a request with more is refused with these."""
