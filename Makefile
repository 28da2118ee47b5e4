# What can be done here; `make` alone lists it.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
SHELL := /bin/bash

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Neither the address of an index nor a folder of this machine may reach a lock file.
LOCK := env -u PIP_FIND_LINKS -u UV_FIND_LINKS $(BIN)/uv pip compile --quiet --no-config --universal \
	--python-version 3.11 --generate-hashes --no-emit-index-url --no-header

.PHONY: help venv lock check test test-slow schemas clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(STAMP)  ## make .venv with everything that is locked in requirements/all.txt

$(STAMP): requirements/uv.txt requirements/all.txt pyproject.toml
	rm -f $@
	$(BIN)/python -c 'import pip' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/uv.txt
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements/all.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@

lock: venv  ## resolve requirements/*.txt again (UPGRADE=1 takes newer versions)
	$(LOCK) $(if $(UPGRADE),--upgrade) --extra openvino --extra torch --extra otel --extra demo --extra dev -o requirements/all.txt pyproject.toml
	$(LOCK) --extra openvino --constraint requirements/all.txt -o requirements/light.txt pyproject.toml
	$(LOCK) --extra demo --constraint requirements/all.txt -o requirements/demo.txt pyproject.toml
	echo uv | $(LOCK) $(if $(UPGRADE),--upgrade) -o requirements/uv.txt -

check: venv  ## all that needs no server: format, lint, types, unit and architecture tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest -q tests/unit

test: check  ## check, then every test but the slow ones, on a real Kafka and a real S3
	$(BIN)/pytest -rs --ignore=tests/unit -m 'not slow' --durations=10 tests

test-slow: venv  ## the tests marked slow
	$(BIN)/pytest -rs -m slow tests

schemas: venv  ## write schemas/ from consumer/messages.py
	$(BIN)/python -m consumer.schemas

clean:  ## remove what was built, fetched and cached
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
