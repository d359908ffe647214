"""`stratsweep import` as people use it: the real program, and what is then done with its file."""

from __future__ import annotations

import io
import json
import math
import random
import subprocess
import sysconfig
import zipfile
from pathlib import Path

PROGRAM = str(Path(sysconfig.get_path("scripts")) / "stratsweep")
HOUR_SECONDS = 3600
START = 1_704_067_200  # 2024-01-01


def stratsweep(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the program to its end."""
    return subprocess.run(
        [PROGRAM, *arguments],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def klines(first: int, count: int, unit: int) -> str:
    """Rows as Binance publishes them, without names; times in units of a second's parts."""
    rows = []
    for hour in range(first, first + count):
        time = (START + hour * HOUR_SECONDS) * unit
        close = 100 + 10 * math.sin(hour / 20)
        rows.append(f"{time},{close},{close + 1},{close - 1},{close},5.5,{time + 1},1,10,1,1,0\n")
    return "".join(rows)


def zipped(text: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("BTCUSDT-1h.csv", text)
    return content.getvalue()


def test_a_vendors_monthly_archives_become_one_file_that_is_then_optimized(tmp_path):
    names = []
    for month in range(4):
        names.append(f"BTCUSDT-1h-2024-{month + 1:02}.zip")
        # Overlapping by a day, and in another unit from the third on.
        text = klines(month * 720, 744, 1000 if month < 2 else 1_000_000)
        (tmp_path / names[-1]).write_bytes(zipped(text))
    random.Random(1).shuffle(names)
    options = ("--symbol", "BTC", "--layout", "binance", "--to", "prices")
    imported = stratsweep("import", *names, *options, cwd=tmp_path)
    assert (imported.returncode, imported.stderr) == (0, "")
    assert imported.stdout.startswith("prices/BTC.parquet: 2,904 bars\n")
    assert "in two files: 72 bars, the same in both, kept once\ngaps: none\n" in imported.stdout

    again = stratsweep("import", *names, *options, cwd=tmp_path)
    assert again.returncode == 2
    assert "prices/BTC.parquet exists" in again.stderr
    replaced = stratsweep(
        "import", *names, *options, "--overwrite", "--format", "json", cwd=tmp_path
    )
    assert json.loads(replaced.stdout)["bar_count"] == 2904

    optimized = stratsweep(
        *("optimize", "sma_cross", "--data", "prices", "--symbol", "BTC", "--workers", "1"),
        *("--param", "fast=5,10", "--param", "slow=20", "--format", "json", "--quiet"),
        cwd=tmp_path,
    )
    assert optimized.returncode == 0, optimized.stderr
    result = json.loads(optimized.stdout)
    assert result["succeeded_count"] == 2
    assert result["ranked_results"][0]["metrics"]["trade_count"] > 10


def test_files_that_are_refused_are_all_told_and_nothing_is_written(tmp_path):
    header = "Date,Open,High,Low,Close\n"
    (tmp_path / "a.csv").write_text(header + "2024-01-02,1,2,1,2\n2024-01-03,2,1,1,2\n")
    (tmp_path / "b.csv").write_text(header)
    refused = stratsweep("import", "a.csv", "b.csv", "--symbol", "X", "--to", "new", cwd=tmp_path)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.splitlines() == [
        "error: a.csv, line 3: the high 1.0 is below the open 2.0; correct the row or delete it",
        "b.csv: there is no row under the column names",
        "correct them, or leave out bad rows, counted and told: --skip-bad-rows",
    ]
    assert not (tmp_path / "new").exists()
    skipped = stratsweep("import", "a.csv", "--symbol", "X", "--skip-bad-rows", cwd=tmp_path)
    assert "bad rows: 1 row left out\n  a.csv, line 3: the high 1.0 is below" in skipped.stdout
