"""Texts cut to the bytes that they take in a call's trailers."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stratsweep_server.rpc.trailers import percent_encoded_size, shortened, utf8_size

PRINTABLE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_the_size_of_a_message_is_that_of_its_percent_encoding(text):
    assert percent_encoded_size(text) == len(quote(text, safe=PRINTABLE))


@pytest.mark.parametrize("size", [utf8_size, percent_encoded_size])
@given(text=st.text(max_size=40), limit=st.integers(10, 60))
def test_a_shortened_text_is_the_longest_beginning_that_fits(text, limit, size):
    encodable = text.encode("utf-8", "replace").decode()
    short = shortened(text, limit, size)
    assert size(short) <= limit
    if short != encodable:
        kept = short.removesuffix("…")
        assert encodable.startswith(kept)
        assert size(encodable) > limit
        assert size(encodable[: len(kept) + 1] + "…") > limit


def test_a_text_is_cut_between_characters():
    assert shortened("漢字漢字", 10) == "漢字…"
    assert shortened("漢字漢字", 12) == "漢字漢字"
    assert shortened("漢字漢字", 27, percent_encoded_size) == "漢字…"


def test_half_of_a_surrogate_pair_is_replaced():
    assert shortened("name\udc80", 100) == "name?"
