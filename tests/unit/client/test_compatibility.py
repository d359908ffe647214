"""Clients and servers of different versions: what people are told."""

import asyncio
import re
import warnings

import pytest
import stratsweep.v1
from click.testing import CliRunner
from google.rpc import code_pb2
from stratsweep import AsyncClient, Client, ServerError, VersionMismatchWarning
from stratsweep._version import CONTRACT_VERSION, __version__
from stratsweep.cli import main
from stratsweep.v1 import optimization_service_pb2

CLIENT = f"this client (stratsweep {__version__}, contract {CONTRACT_VERSION})"
OPTIONS = {"symbols": "SPY", "seed": 7, "slippage": 0.1, "labels": {"run": "7"}}


def info(contract_version: str) -> optimization_service_pb2.GetServerInfoResponse:
    return optimization_service_pb2.GetServerInfoResponse(
        server_version="9.8.7", contract_version=contract_version, worker_count=4
    )


@pytest.fixture(params=["sync", "async"])
def ask(request, server):
    """Call a method of either client, and run the stream that it may return to its end."""

    def ask_sync(method, *arguments, **options):
        with Client(server.address) as client:
            answer = getattr(client, method)(*arguments, **options)
            return answer.result() if method == "optimize" else answer

    async def ask_async(method, *arguments, **options):
        async with AsyncClient(server.address) as client:
            answer = getattr(client, method)(*arguments, **options)
            return await (answer.result() if method == "optimize" else answer)

    if request.param == "sync":
        return ask_sync
    return lambda *arguments, **options: asyncio.run(ask_async(*arguments, **options))


def test_the_contracts_major_version_is_that_of_its_package():
    package = optimization_service_pb2.DESCRIPTOR.package
    assert re.fullmatch(r"\d+\.\d+", CONTRACT_VERSION)
    assert package == f"stratsweep.v{CONTRACT_VERSION.partition('.')[0]}" == stratsweep.v1.__name__


@pytest.mark.parametrize("contract_version", [CONTRACT_VERSION, "1.0", "1.99"])
def test_a_server_of_the_same_major_version_is_no_matter(ask, server, contract_version):
    server.info = info(contract_version)
    assert ask("server_info").contract_version == contract_version
    assert ask("server_info").server_version == "9.8.7"


@pytest.mark.parametrize("contract_version", ["2.0", "11.0", "", "next"])
def test_a_server_of_another_major_version_is_warned_of(ask, server, contract_version):
    server.info = info(contract_version)
    with pytest.warns(VersionMismatchWarning) as caught:
        assert ask("server_info").worker_count == 4
    (warning,) = caught
    assert str(warning.message) == (
        f"the server (stratsweep 9.8.7, contract {contract_version}) has another contract than "
        f"{CLIENT}; use versions that agree"
    )


def test_a_server_that_does_not_tell_its_versions_is_older(ask, server):
    server.info = None
    with pytest.raises(ServerError) as caught:
        ask("server_info")
    assert str(caught.value) == (
        f"the server does not know GetServerInfo, which {CLIENT} has asked for; it is older, "
        "or no Stratsweep server"
    )


def test_a_call_that_a_server_does_not_know_names_both_versions(ask, server):
    server.catalogue, server.info = None, info("1.0")
    with pytest.raises(ServerError) as caught:
        ask("list_strategies")
    assert str(caught.value) == (
        "the server (stratsweep 9.8.7, contract 1.0) does not know ListStrategies, which "
        f"{CLIENT} has asked for; upgrade the server"
    )


@pytest.mark.parametrize("method", ["optimize", "validate"])
def test_a_server_of_something_else_is_told_from_one_that_failed(ask, server, statuses, method):
    server.steps = [statuses["status"](code_pb2.UNIMPLEMENTED, "Method not found!")]
    with pytest.raises(ServerError, match="older, or no Stratsweep server"):
        ask(method, "sma_cross", symbols="SPY")


@pytest.mark.parametrize("method", ["optimize", "validate"])
def test_what_an_older_server_ignores_of_a_request_is_warned_of(ask, server, script, method):
    server.steps = script.whole() if method == "optimize" else [script.started()]
    server.ignores = {"seed", "labels"}
    with pytest.warns(VersionMismatchWarning) as caught:
        ask(method, "sma_cross", **OPTIONS)
    (warning,) = caught
    assert str(warning.message) == (
        f"the server has ignored labels, seed: it is older than {CLIENT}; "
        "upgrade the server, or do not set what it does not know"
    )


def test_it_is_said_once(server, script):
    server.steps = script.whole()
    server.ignores = {"seed"}
    with warnings.catch_warnings(record=True) as caught, Client(server.address) as client:
        warnings.simplefilter("default")
        for _ in range(3):
            client.optimize("sma_cross", **OPTIONS).result()
    assert len(caught) == 1


def test_a_server_that_repeats_all_of_a_request_is_not_warned_of(ask, server, script):
    server.steps = script.whole()
    dates = {"start_date": "2020-01-02", "minimize": True, "backtest_timeout": 5}
    ask("optimize", "sma_cross", **OPTIONS, **dates)


def test_the_command_line_shows_it_as_a_line(server, script):
    server.steps = script.whole()
    server.ignores = {"seed"}
    command = ["optimize", "sma_cross", "--symbol", "SPY", "--seed", "7", "--quiet"]
    result = CliRunner().invoke(main, [*command, "--server", server.address])
    assert result.exit_code == 0
    assert result.stderr.splitlines()[0].startswith("warning: the server has ignored seed: ")
