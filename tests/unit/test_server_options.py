"""The server program's options: their defaults are ServerConfig's, which it imports only late."""

from __future__ import annotations

import dataclasses

import pytest
from stratsweep_server.__main__ import main
from stratsweep_server.config import ServerConfig

DEFAULTS = {
    field.name: field.default
    for field in dataclasses.fields(ServerConfig)
    if field.name != "worker_limits"
}


@pytest.mark.parametrize("name", DEFAULTS)
def test_an_options_default_is_the_configs(name):
    defaults = main.make_context("serve", []).params
    assert defaults[name] == DEFAULTS[name]
