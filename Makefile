# The habits of this project. `make help` lists them.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# Options of `make demo`: DATA=folder SYMBOL=SPY uses your own price files.
DATA   ?=
SYMBOL ?=
# Options of `make bench`, `make load-test` and `make fuzz`: FIGURES="pool.overhead --quick",
# LOAD=--quick, FUZZ="--seconds 600 --seed 7". What `make bench` keeps is in /var/tmp, unless the
# environment names another folder on a disk by BENCHMARK_DISK.
FIGURES ?=
LOAD    ?=
FUZZ    ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo serve check test floors examples oracles soak lint format proto contract constraints bench load-test fuzz clean

help: # list these commands
	@awk -F ':.*# ' '/^[a-z-]+:.*# / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) $(VENV)/.protoc-installed # install everything into .venv

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip -c constraints.txt
	$(BIN)/python -m pip install --quiet --editable '.[server]' --group dev -c constraints.txt
	@touch $@

demo: $(STAMP) # start a server, optimize 100 combinations, show the ranking (DATA=folder SYMBOL=SPY for your own files)
	$(BIN)/python examples/demo.py $(if $(DATA),--data '$(DATA)') $(if $(SYMBOL),--symbol '$(SYMBOL)')

serve: $(STAMP) # run a server on 127.0.0.1:50051 (DATA=folder for your price files)
	$(BIN)/stratsweep serve $(if $(DATA),--data '$(DATA)')

check: lint test # lint and test: what every commit passes

test: $(STAMP) # run every test but the referees'
	$(BIN)/python -m pytest --ignore=tests/oracles

FLOORS := $(VENV)/floors
# Without tests that compile the kernels, which takes longer than all others, or call the linters.
floors: $(STAMP) # test client and server with the oldest versions that they allow, protobuf 6 among them
	$(BIN)/uv pip compile --quiet --no-header --no-annotate --resolution lowest-direct --extra server pyproject.toml -o $(FLOORS).txt
	grep -E '^(pytest|hypothesis)' constraints.txt >> $(FLOORS).txt
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(FLOORS)
	$(BIN)/uv pip install --quiet --python $(FLOORS)/bin/python -c $(FLOORS).txt --editable '.[server]' --group test
	$(FLOORS)/bin/python -m pytest -k "not real_bars and not linters" tests/unit/client tests/integration/test_python_client.py tests/integration/test_standard_services.py

examples: $(STAMP) # prepare the examples in other languages, as far as their tools are here; the tests then run them
	PATH="$(abspath $(BIN)):$$PATH" examples/prepare

oracles: $(VENV)/.oracles-installed # let backtesting.py and vectorbt judge the default engine
	$(BIN)/python -m pytest tests/oracles

lint: $(STAMP) # check style, types, the contract, and that generated code is current
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code
	$(BIN)/buf breaking --against $(CONTRACT)
	@$(MAKE) --no-print-directory proto PROTO_OUT=$(VENV)/proto-check
	diff -r --exclude=__pycache__ $(VENV)/proto-check/stratsweep/v1 client/stratsweep/v1

format: $(STAMP) # apply the formatter and the safe fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/buf format --write

PROTO_OUT ?= client
proto: $(VENV)/.protoc-installed # regenerate the Python code of the contract
	@rm -rf $(PROTO_OUT)/stratsweep/v1 && mkdir -p $(PROTO_OUT)/stratsweep/v1
	PATH="$(abspath $(BIN)):$$PATH" PYTHONPATH=$(VENV)/protoc $(BIN)/python -m grpc_tools.protoc -Iprotos \
	  --python_out=$(PROTO_OUT) --grpc_python_out=$(PROTO_OUT) \
	  --mypy_out=readable_stubs:$(PROTO_OUT) --mypy_grpc_out=$(PROTO_OUT) \
	  protos/stratsweep/v1/*.proto
	@rm -f $(patsubst protos/%.proto,$(PROTO_OUT)/%_pb2_grpc.py*,$(filter-out %_service.proto,$(wildcard protos/stratsweep/v1/*.proto)))
	@printf '"""Generated from protos/stratsweep/v1 by `make proto`. Do not edit."""\n' > $(PROTO_OUT)/stratsweep/v1/__init__.py

$(VENV)/.protoc-installed: $(STAMP) # the generator alone: its runtime is older than ours
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade --no-deps --target $(VENV)/protoc --group protoc
	@touch $@

# What users may rely on: an image of the contract that `buf breaking` compares the protos with.
CONTRACT := protos/contract.yaml
contract: $(STAMP) # let users rely on what the contract has gained; what would break them is refused
	$(BIN)/buf breaking --against $(CONTRACT)
	$(BIN)/buf build --exclude-source-info -o $(CONTRACT)

constraints: # resolve the exact pins again (needs uv)
	uv pip compile --quiet --universal --no-emit-index-url --no-header --upgrade --extra server --group dev --group bench --python-version 3.11 -o constraints.txt pyproject.toml
	@printf 'pip==%s\n' "$$($(PYTHON) -m pip index versions pip 2>/dev/null | sed -nE '1s/.*\((.*)\)/\1/p')" >> constraints.txt

soak: $(STAMP) # hundreds of random kills on real optimizations; takes minutes
	$(BIN)/python -m pytest -m soak

bench: $(VENV)/.bench-installed # measure speed, each figure beside a reference from the same run (FIGURES=pool.overhead)
	$(BIN)/python -m tests.benchmarks $(FIGURES)

$(VENV)/.%-installed: $(STAMP) # install a dependency group that only its own target needs
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group $* -c constraints.txt
	@touch $@

load-test: $(STAMP) # press a real server with many concurrent optimizations for a minute (LOAD=--quick)
	$(BIN)/python -m tests.load $(LOAD)

fuzz: $(STAMP) # attack real servers with bytes and values that nobody sends in good faith (FUZZ="--seconds 600")
	$(BIN)/python -m tests.fuzz $(FUZZ)

clean: # remove the environment, caches and what the examples were built of
	rm -rf $(VENV) .mypy_cache .ruff_cache .hypothesis build dist examples/*/node_modules examples/*/build examples/*/generated
