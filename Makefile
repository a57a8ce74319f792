# Every target sets up what it needs in an environment of its own, and does so once:
#
#   make demo       run emuleak on the examples
#   make test       ruff, mypy, and the tests but for the slow ones
#   make test-all   the slow ones too
#   make lint       ruff and mypy alone
#   make bench      CPU time against valgrind; ROUNDS=N, and WRITE=1 to write benchmarks/RESULTS.md
#   make examples   build examples/bin anew (gcc)
#   make clean      remove the environment and the caches
#
# Any Python from 3.11 on will do: make test PYTHON=/opt/python3.13/bin/python3

PYTHON ?= $(shell for name in python3 python3.11 python3.12 python3.13 python3.14 python; do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$name" && break; done)
VENV ?= .venv
JOBS ?= 2
ROUNDS ?= 5

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# As a plain path: setuptools' other way to be editable costs 10 ms at each start of Python.
EDITABLE := --config-settings editable_mode=compat --editable
# Stamps: what was installed, from which pyproject.toml.
READY := $(VENV)/.ready
READY_FOR_TESTS := $(VENV)/.ready-for-tests

.PHONY: demo test test-all lint pytest bench examples clean
.DELETE_ON_ERROR:
# The linters before the tests, also under -j: pytest brings its own workers.
.NOTPARALLEL:

demo: $(READY)
	@$(BIN)/python examples/demo.py

test: lint pytest

lint: $(READY_FOR_TESTS)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

pytest: $(READY_FOR_TESTS)
	$(BIN)/pytest -q -n $(JOBS) -m "not slow"

test-all: lint
	$(BIN)/pytest -q -n $(JOBS)

bench: $(READY)
	$(BIN)/python benchmarks/compare.py --rounds $(ROUNDS) $(if $(WRITE),--write)

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "emuleak needs Python 3.11 or later; if you have one: make PYTHON=/path/to/it" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is no Python 3.11 or later" >&2; exit 1; }
	@"$(PYTHON)" -m venv --clear $(VENV) || \
		{ rm -rf $(VENV); echo "$(PYTHON) cannot make an environment; on Debian: apt install python3-venv" >&2; exit 1; }

$(READY): pyproject.toml | $(BIN)/python
	@echo "Installing emuleak into $(VENV) ..."
	@$(PIP) install $(EDITABLE) .
	@$(BIN)/python -m compileall -q emuleak
	@touch $@

$(READY_FOR_TESTS): pyproject.toml $(READY)
	@echo "Installing what the tests need into $(VENV) ..."
	@$(PIP) install $(EDITABLE) ".[test]"
	@touch $@

# ---- the examples: small enough to be kept, so that the demo needs no compiler

EXAMPLES := $(basename $(notdir $(wildcard examples/src/*.c examples/src/*.cpp)))
# No path of the machine that built them may stand in them, and from the root their sources must be found.
EXAMPLE_FLAGS := -g -O0 -ffile-prefix-map=$(CURDIR)=.

examples: $(EXAMPLES:%=examples/bin/%)
	@{ echo "# $$(gcc --version | head -n 1)"; sha256sum examples/src/* examples/bin/*; } > examples/SHA256SUMS

# Always: a stamp of time says nothing after a checkout.
.PHONY: $(EXAMPLES:%=examples/bin/%)
$(patsubst examples/src/%.c,examples/bin/%,$(wildcard examples/src/*.c)): examples/bin/%: examples/src/%.c
	gcc $(EXAMPLE_FLAGS) -o $@ $<
$(patsubst examples/src/%.cpp,examples/bin/%,$(wildcard examples/src/*.cpp)): examples/bin/%: examples/src/%.cpp
	g++ $(EXAMPLE_FLAGS) -o $@ $<

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
