"""Make and read page tokens: opaque texts that go with the one question that they came with."""

from __future__ import annotations

import base64
import hashlib

from google.protobuf.message import Message

from stratsweep_server.optimization.validation import Violation
from stratsweep_server.rpc.requests import InvalidRequestError

_DIGEST_BYTES = 12
_MAX_CHARACTERS = 200


def page_token(request: Message, position: str) -> str:
    """Return the token of a page.

    Args:
        request: What was asked; its `page_size` and `page_token` may change from page to page.
        position: Where the page begins, as `read_position` returns it; empty: there is no page.
    """
    if not position:
        return ""
    return base64.urlsafe_b64encode(_digest(request) + position.encode()).decode()


def read_position(request: Message) -> str:
    """Return where the page begins that is asked for; empty: it is the first.

    Raises:
        InvalidRequestError: The token is none, or of another question.
    """
    token: str = getattr(request, "page_token")  # noqa: B009 - every message that is paged has it
    if not token:
        return ""
    try:
        data = base64.b64decode(token[:_MAX_CHARACTERS], altchars=b"-_", validate=True)
        position = data[_DIGEST_BYTES:].decode()
    except ValueError as error:
        raise foreign_token() from error
    if data[:_DIGEST_BYTES] != _digest(request):
        reason = "is of a call that asked for something else; leave it out to begin anew"
        raise InvalidRequestError([Violation("page_token", reason)])
    return position


def foreign_token() -> InvalidRequestError:
    """Return the refusal of a token that this server did not make."""
    reason = "is no token of this server; take next_page_token of the last response, or none"
    return InvalidRequestError([Violation("page_token", reason)])


def _digest(request: Message) -> bytes:
    question = type(request)()
    question.CopyFrom(request)
    question.ClearField("page_size")
    question.ClearField("page_token")
    text = question.SerializeToString(deterministic=True)
    return hashlib.blake2b(text, digest_size=_DIGEST_BYTES, person=b"page token").digest()
