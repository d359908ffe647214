"""What a folder may say of its price files."""

from __future__ import annotations

import pytest
from stratsweep_server.market_data.errors import FolderSettingsError
from stratsweep_server.market_data.folder_settings import FolderSettings, parse_settings


def refusal(content: bytes) -> str:
    with pytest.raises(FolderSettingsError) as caught:
        parse_settings(content)
    assert str(caught.value).startswith("stratsweep.toml: ")
    assert str(caught.value).isprintable()
    return caught.value.reason


def test_a_folder_names_the_zone_of_its_times():
    content = b'# bars of an exchange\ntimezone = "America/New_York"\n'
    assert parse_settings(content) == FolderSettings("America/New_York")


def test_the_file_may_begin_with_a_byte_order_mark_as_windows_writes_it():
    content = b'\xef\xbb\xbftimezone = "America/New_York"\n'
    assert parse_settings(content) == FolderSettings("America/New_York")


@pytest.mark.parametrize("content", [b"", b"# nothing\n"])
def test_a_folder_need_not_say_anything(content):
    assert parse_settings(content) == FolderSettings()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"time-zone = 'UTC'", "'time-zone' is no setting .* did you mean timezone"),
        (b"workers = 2", "'workers' is no setting .* there is only timezone"),
        (b"timezone = 'America/New_Yrok'", "timezone: .* America/New_York"),
        (b"timezone = ''", "timezone: '' is not a time zone"),
        (b"timezone = 5", "timezone is no text"),
        (b"timezone = UTC", "this is not TOML: .*line 1"),
        (b"timezone = 'UTC'\ntimezone = 'UTC'", "this is not TOML: Cannot overwrite"),
        (b"\xff\xfet\0", "this is not TOML"),
        (b"\x1b[31m = 1", "this is not TOML"),
        (b'"\\u001b[31m" = 1', "is no setting"),
        (b"a = " + b"[" * 60_000, "this is not TOML"),
        (b"#" * 70_000, "more than 65,536 bytes"),
    ],
)
def test_what_cannot_be_used_is_said(content, message):
    reason = refusal(content)
    assert len(reason) < 300
    with pytest.raises(FolderSettingsError, match=message):
        parse_settings(content)
