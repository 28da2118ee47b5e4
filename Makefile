# What can be done here; `make` alone lists it.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
SHELL := /bin/bash
# Tests start hundreds of Python processes; without bytecode each of them compiles again what it imports.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO_VENV := .venv-demo
DEMO_STAMP := $(DEMO_VENV)/.installed

# Make a virtual environment of exactly what a lock file says, and this checkout. $(1): its folder, $(2): the lock file.
define install
	@echo "installing $(2) into $(1)"
	@rm -f $@
	@$(1)/bin/python -c 'import pip' 2>/dev/null || $(PYTHON) -m venv --clear $(1)
	@$(1)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@$(1)/bin/uv pip sync --quiet --python $(1)/bin/python --require-hashes $(2)
	@$(1)/bin/uv pip install --quiet --python $(1)/bin/python --no-deps --no-build-isolation --editable .
	@touch $@
endef

# BROKER=kafka runs the demo on the Kafka of the tests.
ifeq ($(BROKER),kafka)
RUN_DEMO = $(DEMO_VENV)/bin/python -m tests.rigs.with_kafka $(DEMO_VENV)/bin/consumer demo run --bootstrap-servers {} $(ARGS)
else ifeq ($(BROKER),)
RUN_DEMO = $(DEMO_VENV)/bin/consumer demo run $(ARGS)
else
RUN_DEMO = echo "BROKER=kafka is the only one there is, not BROKER=$(BROKER)" >&2; exit 2
endif

# Neither the address of an index nor a folder of this machine may reach a lock file.
LOCK := env -u PIP_FIND_LINKS -u UV_FIND_LINKS $(BIN)/uv pip compile --quiet --no-config --universal \
	--python-version 3.11 --generate-hashes --no-emit-index-url --no-header

.PHONY: demo help venv lock check test test-slow test-containers faults fuzz bench mutants schemas clean

demo: $(DEMO_STAMP)  ## see it work within a minute (BROKER=kafka: on a real Kafka; ARGS="…": `consumer demo run --help`)
	@$(RUN_DEMO)

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(STAMP)  ## make .venv with everything that is locked in requirements/all.txt

$(STAMP): requirements/uv.txt requirements/all.txt pyproject.toml
	$(call install,$(VENV),requirements/all.txt)

$(DEMO_STAMP): requirements/uv.txt requirements/demo.txt pyproject.toml
	$(call install,$(DEMO_VENV),requirements/demo.txt)

lock: venv  ## resolve requirements/*.txt again (UPGRADE=1 takes newer versions)
	$(LOCK) $(if $(UPGRADE),--upgrade) --extra openvino --extra onnx --extra quantize --extra torch --extra otel --extra audit --extra demo --extra dev -o requirements/all.txt pyproject.toml
	$(LOCK) --extra openvino --constraint requirements/all.txt -o requirements/light.txt pyproject.toml
	printf 'setuptools\ntestcontainers' | $(LOCK) --extra demo --constraint requirements/all.txt -o requirements/demo.txt pyproject.toml -
	$(LOCK) --extra openvino --extra audit --constraint requirements/all.txt -o requirements/auditor.txt pyproject.toml
	$(LOCK) --extra torch --constraint requirements/all.txt -o requirements/cuda.txt pyproject.toml
	echo setuptools | $(LOCK) --constraint requirements/all.txt -o requirements/build.txt -
	echo uv | $(LOCK) $(if $(UPGRADE),--upgrade) -o requirements/uv.txt -

check: venv  ## all that needs no server: format, lint, types, unit and architecture tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest -q -n 2 -m 'not slow and not thorough' tests/unit

test: check  ## check, then every test but the slow ones, on a real Kafka and a real S3
	$(BIN)/pytest -q -n 2 -m 'thorough and not slow' tests/unit
	$(BIN)/pytest -q -rs -n 2 --dist loadfile --ignore=tests/unit -m 'not slow and not containers' --durations=10 tests

test-slow: venv  ## the tests marked slow
	$(BIN)/pytest -rs -m 'slow and not containers' tests

# Where no registry answers, Debian's tools make the base image, and broker and store are built of what the tests have.
test-containers: venv  ## build the image, run docker-compose.kafka.yml on Docker, strike at it (docs/containers.md)
	$(BIN)/pytest -rs -m containers --timeout 1800 --durations=10 tests/containers

# The whole matrix takes hours; ARGS="--cell killed --seed 7 --jobs 5000" runs a part of it, `--list` names the cells.
faults: venv  ## break everything while jobs flow, count what is lost or doubled, and write docs/faults.md
	$(BIN)/python -m tests.faults $(or $(ARGS),--write docs/faults.md)

fuzz: venv  ## look for MINUTES (1) for messages and images that end in no answer (SEED: where to begin)
	@MINUTES=$(or $(MINUTES),1) $(if $(SEED),SEED=$(SEED)) $(BIN)/python -m tests.hostile.fuzz

# About 20 minutes at ARGS="--rounds 3"; ARGS="--quick", "--only peers", "--only all", `--help`.
bench: venv  ## time engine, pipeline, naive loop and others side by side; writes benchmarks/results/ (ARGS="--quick")
	@$(BIN)/python -m benchmarks $(ARGS)

mutants: venv  ## take each guard out in turn: which test notices? Writes docs/guards.md (ARGS="--guard NAME --protocol classic")
	@nice -n 10 $(BIN)/python -m tests.mutants $(ARGS)

schemas: venv  ## write schemas/ from consumer/messages.py
	$(BIN)/python -m consumer.schemas

clean:  ## remove what was built, fetched and cached
	rm -rf $(VENV) $(DEMO_VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
