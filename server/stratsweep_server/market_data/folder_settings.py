"""Read what a folder says of its price files, in a small TOML file beside them."""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass, fields

from stratsweep_server.market_data.errors import FolderSettingsError, UnknownTimezoneError
from stratsweep_server.market_data.timezones import check_timezone
from stratsweep_server.texts import listed, quoted

SETTINGS_FILE_NAME = "stratsweep.toml"
MAX_SETTINGS_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class FolderSettings:
    """Hold the settings of a folder; each is a key of its file.

    Attributes:
        timezone: IANA name of the zone of times that have none; empty where the folder says none.
    """

    timezone: str = ""


def parse_settings(content: bytes) -> FolderSettings:
    """Parse the content of the settings file.

    Raises:
        FolderSettingsError: It is too long or not TOML, a key is unknown, or a value is none.
    """
    if len(content) > MAX_SETTINGS_BYTES:
        raise _error(
            f"the file has more than {MAX_SETTINGS_BYTES:,} bytes; it is for a few settings"
        )
    try:
        values = tomllib.loads(content.decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _error(f"this is not TOML: {error}; correct or delete the file") from error
    known = [each.name for each in fields(FolderSettings)]
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(key.casefold(), known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there is only {listed(known)}"
            raise _error(f"{quoted(key)} is no setting of price files; {hint}")
    timezone = values.get("timezone", "")
    if not isinstance(timezone, str):
        raise _error('timezone is no text; write it as timezone = "America/New_York"')
    if "timezone" in values:
        try:
            check_timezone(timezone)
        except UnknownTimezoneError as error:
            raise _error(f"timezone: {error}") from error
    return FolderSettings(timezone)


def _error(reason: str) -> FolderSettingsError:
    return FolderSettingsError(SETTINGS_FILE_NAME, reason)
