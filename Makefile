# Everything a developer needs; `make` alone lists it.
.PHONY: help venv demo test lint man reference soak bench ci
PYTHON ?= python3
VENV ?= .venv
MINUTES ?= 30

help:
	@echo "make venv    a virtual environment with amid and its tools"
	@echo "make demo    a simulated PBX with amid in front of it"
	@echo "make test    all tests (those of real Asterisks too, where they are installed)"
	@echo "make lint    ruff and mypy"
	@echo "make man     the manual pages, in build/man"
	@echo "make reference   the pages of the Python API and the command line, in etc/doc"
	@echo "make soak    load, faults drawn at random and checks for half an hour (MINUTES=30), on a real Asterisk 22"
	@echo "make bench   every benchmark beside its peers: text, JSON and a plot in bench/ (needs a real Asterisk 22; some 15 minutes)"
	@echo "make ci      what CI does, on this machine"

venv: $(VENV)/bin/amid

$(VENV)/bin/amid: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install -q -e '.[dev]'
	@touch $@

demo: venv
	$(VENV)/bin/amid demo

test: venv
	$(VENV)/bin/python -m pytest -n 3

lint: venv
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check -q .
	$(VENV)/bin/mypy --strict amid tests

man: venv
	mkdir -p build/man
	$(VENV)/bin/python etc/man.py build/man

reference: venv
	$(VENV)/bin/python etc/reference.py etc/doc

soak: venv
	$(VENV)/bin/python -m tests.faults.soak --minutes $(MINUTES)

bench: venv
	$(VENV)/bin/pip install -q -e '.[bench]'
	$(VENV)/bin/python -m tests.bench.report --out bench

ci:
	bash .ci/run
