"""The layouts of vendors whose files have no line of names, as the vendors document them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stratsweep_server.market_data.file_layout import FileLayout

_PRICES = ("open", "high", "low", "close")
_DAILY = ("date", *_PRICES, "volume")
_BESIDE_A_DATE = ("date", "time", *_PRICES, "volume")
_NEW_YORK = "America/New_York"


@dataclass(frozen=True, slots=True)
class VendorLayout:
    """Describe how a vendor writes files.

    Attributes:
        columns: The names of its columns: one variant for each number of fields.
        timezone: IANA name of the zone of its times; empty where it differs from file to file.
        writes_month_first: Whether its dates are always 12/31/2024.
    """

    columns: tuple[tuple[str, ...], ...]
    timezone: str = ""
    writes_month_first: bool = False

    def of_files(self, name: str, columns: Mapping[str, str]) -> FileLayout:
        """Return what it says of files, with what a caller says of their columns.

        Args:
            name: Its name.
            columns: As in `FileLayout`.
        """
        return FileLayout(name, self.columns, columns, self.writes_month_first)


LAYOUTS: Mapping[str, VendorLayout] = {
    # Spot and futures; milliseconds, for spot microseconds from 2025. Some files have names.
    "binance": VendorLayout(
        (
            (
                *("open_time", *_PRICES, "volume", "close_time", "quote_volume", "count"),
                *("taker_buy_volume", "taker_buy_quote_volume", "ignore"),
            ),
        ),
        "UTC",
    ),
    # Stocks, ETFs, indices (without a volume) and futures are in this zone.
    "firstrate": VendorLayout(
        (("datetime", *_PRICES, "volume"), ("datetime", *_PRICES)), _NEW_YORK
    ),
    # Eastern Standard Time in summer, too. The second is its format for MetaTrader.
    "histdata": VendorLayout((("datetime", *_PRICES, "volume"), _BESIDE_A_DATE), "Etc/GMT+5"),
    "kibot": VendorLayout((_BESIDE_A_DATE, _DAILY), _NEW_YORK, writes_month_first=True),
    # Seconds.
    "kraken": VendorLayout((("time", *_PRICES, "volume", "trades"),), "UTC"),
    # The History Center of version 4, in the zone of the broker's server; version 5 writes names.
    "metatrader": VendorLayout((("date", "time", *_PRICES, "tickvol"),)),
    # Minutes or days, in the zone of whoever exported them.
    "ninjatrader": VendorLayout((("datetime", *_PRICES, "volume"),)),
}
"""By name."""
