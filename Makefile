# Every target works without activating .venv. Needs python3 (3.11 or newer), g++, make and perl.
PYTHON ?= python3
TARGET ?= ecp5-85k
MODEL  ?= models/fashion/fashion.tflite
INPUT  ?= $(if $(filter models/fashion/%,$(MODEL)),models/fashion/images.npy,)
SEED   ?= 1
BOARD  ?= icebreaker
WORKERS ?= auto
BENCH  ?=
BUS    ?= wishbone
BIN := .venv/bin
STAMP := .venv/.installed
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-long lint models verilog sim build gates bench bitstream flash boards

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' Makefile
	@echo "  TARGET=$(TARGET) BOARD=$(BOARD) MODEL=$(MODEL) INPUT=$(INPUT) SEED=$(SEED)"

setup: $(STAMP)  ## install everything into .venv (again only when the pins change)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "error: $(PYTHON) must be 3.11 or newer; give another one with PYTHON=" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { rm -rf .venv; \
	  echo "error: $(PYTHON) must be able to make a venv; on Debian: apt install python3-venv" >&2; exit 2; }
	PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet \
	  --disable-pip-version-check -e '.[dev]'
	@touch $@

demo: setup  ## compile our network, generate Verilog, simulate real images
	@$(BIN)/python -m sim.demo

test: setup  ## the regression: every block and whole networks, against the golden model
	$(BIN)/python -m pytest -n $(WORKERS)

test-long: setup  ## the same with many more random configurations
	$(BIN)/python -m pytest -n $(WORKERS) -m 'long or not long'

lint: setup  ## ruff and pyright
	$(BIN)/ruff check .
	$(BIN)/pyright

models: setup  ## fetch the four MLPerf Tiny networks into build/models
	$(BIN)/python -m models.fetch

verilog: setup  ## generate the core into build/verilog/TARGET (BUS=axi: AXI ports)
	$(BIN)/systolith generate --target $(TARGET) --bus $(BUS) -o build/verilog/$(notdir $(basename $(TARGET)))

sim: setup  ## simulate MODEL on TARGET with INPUT (.npy, one input per first index)
	@test -n '$(INPUT)' || { echo "error: INPUT must name a .npy file of inputs" >&2; exit 2; }
	$(BIN)/systolith simulate $(MODEL) --target $(TARGET) --input $(INPUT)

build: setup  ## synthesise, place and route the core into build/pnr/TARGET
	$(BIN)/systolith build --target $(TARGET) --seed $(SEED) -o build/pnr/$(notdir $(basename $(TARGET)))

gates: setup  ## run MODEL on the netlist of TARGET: the bytes and cycles of the RTL?
	@test -n '$(INPUT)' || { echo "error: INPUT must name a .npy file of inputs" >&2; exit 2; }
	$(BIN)/python -m sim.gates $(MODEL) --target $(TARGET) --input $(INPUT)

bench: setup  ## measure our networks on all presets into build/bench (BENCH=--predict: in seconds)
	$(BIN)/python -m sim.bench $(BENCH)

bitstream: setup  ## the bitstream of BOARD and the image of MODEL into build/boards/BOARD
	$(BIN)/systolith build --board $(BOARD) --model $(MODEL) --seed $(SEED) -o build/boards/$(BOARD)

flash: setup  ## write them into the flash of BOARD
	PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet \
	  --disable-pip-version-check -e '.[flash]'
	$(BIN)/systolith flash --board $(BOARD) build/boards/$(BOARD)

boards: setup  ## the bitstreams of all boards, and their table in README.md
	$(BIN)/python -m boards.survey --seed $(SEED)
