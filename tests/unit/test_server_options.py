"""The server program's options: their defaults, and what is said of a value that cannot be used."""

from __future__ import annotations

import dataclasses

import click
import pytest
from stratsweep_server.__main__ import main
from stratsweep_server.config import ServerConfig

DEFAULTS = {
    field.name: field.default
    for field in dataclasses.fields(ServerConfig)
    if field.name != "worker_limits"
}


def options_of(*arguments, **variables):
    """The values of all options, by name."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in variables.items():
            environment.setenv(f"STRATSWEEP_{name.upper()}", value)
        with main.make_context(
            "serve", list(arguments), auto_envvar_prefix="STRATSWEEP"
        ) as context:
            return context.params


def refusal_of(*arguments, **variables):
    """What is said of options that cannot be used."""
    with pytest.raises(click.BadParameter) as caught:
        options_of(*arguments, **variables)
    return caught.value.format_message()


@pytest.fixture
def file(tmp_path, monkeypatch):
    """Writes server.toml into the current directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "server.toml"


@pytest.mark.parametrize("name", DEFAULTS)
def test_an_options_default_is_the_configs(name):
    assert options_of()[name] == DEFAULTS[name]


def test_a_file_gives_options_in_either_spelling(file):
    file.write_text(
        'workers = 3\nmax-memory = 500\nmax_combinations = 10\ngrace = 2\nlog-format = "json"\n'
        'exit-on-stdin-eof = true\nstrategies = ["a", "b"]\nstart-timeout = 0.5\n'
    )
    options = options_of("--config", "server.toml")
    wanted = {
        "workers": 3,
        "max_memory": 500,
        "max_combinations": 10,
        "grace": 2.0,
        "log_format": "json",
        "exit_on_stdin_eof": True,
        "strategies": ("a", "b"),
        "start_timeout": 0.5,
    }
    assert {name: options[name] for name in wanted} == wanted


def test_a_single_module_in_a_file_needs_no_list(file):
    file.write_text('strategies = "my_strategies"')
    assert options_of("--config", "server.toml")["strategies"] == ("my_strategies",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("worker = 4", "has the key 'worker', which is no option; did you mean 'workers'?"),
        (
            "max_memry = 4",
            "has the key 'max_memry', which is no option; did you mean 'max-memory'?",
        ),
        ("zzz = 4", "has the key 'zzz', which is no option; the keys are listen, workers, data"),
        ('config = "other.toml"', "has the key 'config', which is no option"),
        ("[server]\nworkers = 4", "has a table, [server]; write the options without one"),
        ("max-memory = 1\nmax_memory = 2", "has 'max-memory' twice; keep one of them"),
        ("workers = ", "server.toml is not TOML"),
        ("workers = " + 5_000 * "[", "server.toml is not TOML"),
        ("workers = 2.5", "Invalid value for workers in server.toml: 2.5 is not a whole number"),
        ("workers = true", "Invalid value for workers in server.toml: true is not a whole number"),
        ('workers = "4"', "Invalid value for workers in server.toml: '4' is not a whole number"),
        ("workers = [4]", "Invalid value for workers in server.toml: a list is not a whole number"),
        (
            "workers = 0",
            "Invalid value for workers in server.toml: '0' is not a whole number from 1 on",
        ),
        (
            "grace = -1",
            "Invalid value for grace in server.toml: '-1' is not a number of seconds from 0",
        ),
        (
            "grace = nan",
            "Invalid value for grace in server.toml: 'nan' is not a number of seconds from 0",
        ),
        ("grace = false", "Invalid value for grace in server.toml: false is not a number"),
        (
            "listen = 50051",
            "Invalid value for listen in server.toml: 50051 is not a text in quotes",
        ),
        ("exit-on-stdin-eof = 1", "exit-on-stdin-eof in server.toml: 1 is not true or false"),
        ("strategies = [1]", "strategies in server.toml: 1 is not a text in quotes"),
        ('data = "nowhere"', "Invalid value for data in server.toml: Directory 'nowhere' does not"),
        ('log-level = "loud"', "Invalid value for log-level in server.toml: 'loud' is not one of"),
    ],
)
def test_a_file_that_cannot_be_used_says_which_key_and_what_to_write(file, text, message):
    file.write_text(text)
    assert message in refusal_of("--config", "server.toml")


def test_a_file_may_begin_with_a_byte_order_mark_as_windows_writes_it(file):
    file.write_text("workers = 3", encoding="utf-8-sig")
    assert options_of("--config", "server.toml")["workers"] == 3


def test_a_bad_value_says_which_environment_variable_it_is_from(file):
    file.write_text("workers = 4")
    message = refusal_of("--config", "server.toml", workers="four")
    assert "--workers, from the environment variable STRATSWEEP_WORKERS: 'four' is not" in message
    message = refusal_of(config="missing.toml")
    assert "--config, from the environment variable STRATSWEEP_CONFIG: File 'missing" in message


def test_a_bad_value_on_the_command_line_is_the_flags(file):
    file.write_text("workers = 4")
    message = refusal_of("--config", "server.toml", "--workers", "0", workers="5")
    assert message.startswith("Invalid value for '--workers': '0' is not a whole number from 1 on")
    assert "'--grace': 'nan' is not a number of seconds from 0" in refusal_of("--grace", "nan")
    complaint = refusal_of("--start-timeout", "0")
    assert "'--start-timeout': '0' is not a number of seconds above 0" in complaint


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1:50051", "localhost:0", "my-host.local:5", "[::1]:1", "[fe80::1%eth0]:1", "unix:/a"],
)
def test_what_can_be_an_address_to_listen_at_is_taken(address):
    assert options_of("--listen", address)["listen"] == address


@pytest.mark.parametrize(
    "address",
    ["50051", ":50051", "127.0.0.1", "127.0.0.1:80000", "::1:50051", "http://localhost:1", "unix:"],
)
def test_what_cannot_be_an_address_is_bad_usage(address):
    assert "is not an address; write host:port, such as" in refusal_of("--listen", address)
