"""Labels: what may be one, and how they are written into a log."""

import pytest
from stratsweep_server.optimization.labels import find_label_violations, labels_text


def test_sixteen_labels_of_the_longest_keys_and_values_are_taken():
    labels = {f"{number:064}": "漢" * 256 for number in range(16)}
    assert list(find_label_violations(labels)) == []
    assert list(find_label_violations({"empty": ""})) == []


def test_every_violation_of_the_labels_is_found_at_once():
    labels = {"": "x", "k" * 65: "v" * 257, "note": "a\0b", "n\0": "x"}
    found = {each.field: each.description for each in find_label_violations(labels)}
    assert len(list(find_label_violations(labels))) == 5
    assert found["labels['']"] == "has an empty key; name it"
    assert found[f"labels['{'k' * 40}…']"] == "has a value of 257 characters; 256 are allowed"
    assert found["labels['note']"] == "has a value with a NUL character; leave it out"
    assert found["labels['n\\x00']"] == "has a key with a NUL character; leave it out"


def test_of_too_many_labels_only_their_number_is_said():
    labels = {"k" * (65 + number): "\0" for number in range(17)}
    (violation,) = find_label_violations(labels)
    assert (violation.field, violation.description) == ("labels", "are 17; 16 are allowed")


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        ({}, ""),
        ({"run": "42", "desk": "rates"}, " (desk=rates, run=42)"),
        ({"note": "two words, run=7"}, " (note='two words, run=7')"),
        ({"note": "x) succeeded"}, " (note='x) succeeded')"),
        ({"a\nb": "\x1b[2J\u202e"}, r" ('a\nb'='\x1b[2J\u202e')"),
        ({"empty": ""}, " (empty='')"),
    ],
)
def test_labels_are_written_into_one_line_so_that_the_end_of_each_is_seen(labels, text):
    assert labels_text(labels) == text
