VENV ?= .venv
PEERS_VENV ?= .venv-peers
PYTHON ?= python3
BIN := $(VENV)/bin
DATA ?= data
RUN ?= runs/ssvae
DEVICE ?= cuda
# Without a folder, the bundled photograph.
GPU_DATA = $(if $(filter-out file,$(origin DATA)),$(DATA),$(wildcard $(DATA)))
PEER_TESTS := tests/models/studies/test_peers.py tests/models/studies/test_priors.py \
	tests/benchmarks/test_bench.py::test_a_learned_peer_is_a_codec_like_any_other \
	tests/benchmarks/test_bench_speed.py::test_a_learned_peer_returns_a_picture_of_the_same_size

.PHONY: help demo test fast cluster peers lint bench speed gpu-bench web train resident train-status clean

help:  ## list what can be done
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

$(BIN)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one with PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,bench,view]'
	@touch $@

demo: $(BIN)/.installed  ## encode and decode a photograph at 1, 2, 3 layers beside JPEG
	$(BIN)/python -m benchmarks.demo

test: $(BIN)/.installed  ## run all tests
	$(BIN)/python -m pytest -n 2 --dist worksteal

fast: $(BIN)/.installed  ## run the tests that take seconds
	$(BIN)/python -m pytest -n 2 --dist worksteal -m 'not slow'

cluster: $(BIN)/.installed  ## run codec batch on a Ray cluster of two nodes, one of them lost
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[cluster]'
	$(BIN)/python -m pytest tests/batch/test_cluster.py

$(PEERS_VENV)/.installed: pyproject.toml constraints-peers.txt
	$(PYTHON) -m venv $(PEERS_VENV)
	$(PEERS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-peers.txt -e '.[peers]' pytest
	@touch $@

peers: $(PEERS_VENV)/.installed  ## CompressAI in an environment of its own, and the tests that need it
	$(PEERS_VENV)/bin/python -m pytest $(PEER_TESTS)

lint: $(BIN)/.installed  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(BIN)/.installed  ## rate-distortion on the images in DATA=folder
	$(BIN)/python -m benchmarks.rate_distortion $(DATA)

speed: $(BIN)/.installed  ## time encode and decode of 768x512 on this machine
	$(BIN)/codec bench --speed --megapixels 0.4 -o bench_output

gpu-bench: $(BIN)/.installed  ## rate, exactness, speed on the GPU (DEVICE=cpu: on the CPU), of the images in DATA=folder
	$(BIN)/python -m benchmarks.gpu --device $(DEVICE) --out bench_output/gpu $(GPU_DATA)

web:  ## build the decoder for browsers from web/ into cli/gallery/static (Node 20 or newer)
	cd web && npm ci && npm run check && npm run build

train: $(BIN)/.installed  ## train on the images or tar shards in DATA=folder, into RUN=folder
	$(BIN)/python -m models.training $(DATA) --out $(RUN)

resident: $(BIN)/.installed  ## start or continue a run that is always going, in RUN=folder on DATA=folder
	$(BIN)/python -m models.training.resident start $(RUN) $(DATA)

train-status: $(BIN)/.installed  ## steps, hours, loss, last table of the resident run in RUN=folder
	@$(BIN)/python -m models.training.resident status $(RUN)

clean:  ## remove the virtual environments and what the demo wrote
	rm -rf $(VENV) $(PEERS_VENV) demo_output bench_output
