"""Sequence numbers for the messages that a test scripts."""

import pyarrow as pa


class Numbering:
    """Gives messages the sequence numbers of the contract, as they come."""

    def __init__(self) -> None:
        self._number = 0

    def __call__(self, response):
        event = response.event
        match event.WhichOneof("kind"):
            case "progress":
                progress = event.progress
                self._number += len(progress.outcomes) + _row_count(progress.arrow_results)
            case "started" | "result":
                self._number += 1
            case _:
                return response
        event.sequence_number = self._number
        return response


def _row_count(stream):
    try:
        return pa.ipc.open_stream(stream).read_all().num_rows if stream else 0
    except pa.ArrowInvalid:
        return 0


def numbered(messages):
    """The messages of a stream, with its sequence numbers."""
    return list(map(Numbering(), messages))
