# make demo                a HarDNet detector, from data to drawn boxes, in output/demo
# make demo-segmentation   FC-HarDNet-70 on generated streets, in output/demo-segmentation
# make test                the tests
# make lint                ruff, mypy, and hadolint over the Dockerfile
# make benchmark           every engine against the peers that pip installs, into docs/benchmarks.md (half an hour)
# make zoo                our networks beside those of other libraries, into docs/zoo.md (half an hour)
# make docs               the documentation as a site, in output/site: open output/site/index.html, no network needed
# make docs-serve         the same at http://127.0.0.1:8001, built anew when a page changes
#
# All make a virtual environment of their own, .venv, with the versions of constraints.txt, and can be repeated.
#   PADDLE=3.3.1   another version of paddlepaddle        VENV=.venv-3.3.1   in an environment of its own
#   PYTHON=...     the interpreter to start from          SEED=1 DEMO=output/demo1 (or STREETS=...)   another demo
#   TESTS=...      which tests, and options of pytest
#   BENCHMARK=...  options of benchmarks/inference.py, such as --quick, or of benchmarks/zoo.py, such as --only classifiers

PADDLE ?= 3.2.2
VENV ?= .venv
SEED ?= 0
DEMO ?= output/demo
TESTS ?= tests
# One process more than cores: many tests wait for a process that they start. After a crash pytest-xdist may wait for
# ever when it replaces the process, so it does not.
PROCESSES = $(shell $(BIN)/python -c 'import os; print(min(5, 1 + (os.cpu_count() or 1)))')
# PaddleDetection 2.6.0 needs NumPy < 1.24, which has wheels up to Python 3.11.
PYTHON ?= $(shell for p in python3.11 python3.10 python3 python; do \
	$$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 11))' 2>/dev/null && { echo $$p; break; }; done)

BIN = $(VENV)/bin
READY = $(VENV)/.ready-$(PADDLE)
SMOKE = smoke_ppyoloe_hardnet39ds_192_10e_sample
RUN = $(DEMO)/$(SMOKE)

STREETS ?= output/demo-segmentation
SEGMENTER = smoke_fchardnet70_sample
STREETS_RUN = $(STREETS)/$(SEGMENTER)

# The peers cannot live in the environment of PaddleDetection.
PEERS ?= .venv-peers
PEERS_READY = $(PEERS)/.ready

# The networks of other libraries, beside the toolkits.
ZOO ?= .venv-zoo
ZOO_READY = $(ZOO)/.ready

# The site needs neither Paddle nor a toolkit.
DOCS ?= .venv-docs
DOCS_READY = $(DOCS)/.ready

.PHONY: demo demo-segmentation test benchmark zoo docs docs-serve lint clean

$(READY): pyproject.toml setup.py constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.10 or 3.11 is needed and was not found; make PYTHON=/path/to/python3.11"; exit 2; }
	@echo "== Environment $(VENV): $$($(PYTHON) --version), paddlepaddle $(PADDLE), PaddleDetection, PaddleSeg (1.6 GB, a minute or two) =="
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --constraint constraints.txt "paddlepaddle==$(PADDLE)" --editable ".[detection,segmentation,features,test]"
	@rm -f $(VENV)/.ready-*
	@touch $@

demo: $(READY)
	@echo "== 1/4 data: seeded scenes in COCO's layout, $(DEMO)/data =="
	@$(BIN)/densebone sample-data coco $(DEMO)/data --seed $(SEED)
	@echo "== 2/4 training: HarDNet-39DS with a PP-YOLOE head, from random weights =="
	@$(BIN)/densebone train -c $(SMOKE) --data $(DEMO)/data -o save_dir=$(DEMO) --seed $(SEED) --eval --resume
	@echo "== 3/4 prediction on pictures that were not trained on =="
	@$(BIN)/densebone predict -c $(SMOKE) --data $(DEMO)/data -o save_dir=$(DEMO) -O $(DEMO)/pictures $(DEMO)/data/val2017
	@echo "== 4/4 evaluation =="
	@$(BIN)/densebone eval -c $(SMOKE) --data $(DEMO)/data -o save_dir=$(DEMO)
	@echo "pictures with boxes: $(DEMO)/pictures/*.jpg"
	@echo "curves:              $(RUN)/curves.png"
	@echo "checkpoint:          $(RUN)/best_model.pdparams"

demo-segmentation: $(READY)
	@echo "== 1/4 data: seeded streets in Cityscapes' layout, $(STREETS)/data =="
	@$(BIN)/densebone sample-data cityscapes $(STREETS)/data --seed $(SEED)
	@echo "== 2/4 training: FC-HarDNet-70, from random weights =="
	@$(BIN)/densebone train -c $(SEGMENTER) --data $(STREETS)/data -o save_dir=$(STREETS) --seed $(SEED) --eval --resume
	@echo "== 3/4 prediction on pictures that were not trained on =="
	@$(BIN)/densebone predict -c $(SEGMENTER) --data $(STREETS)/data -o save_dir=$(STREETS) -O $(STREETS)/pictures \
		$(STREETS)/data/leftImg8bit/val
	@echo "== 4/4 evaluation =="
	@$(BIN)/densebone eval -c $(SEGMENTER) --data $(STREETS)/data -o save_dir=$(STREETS)
	@echo "pictures with classes: $(STREETS)/pictures"
	@echo "curves:                $(STREETS_RUN)/curves.png"
	@echo "checkpoint:            $(STREETS_RUN)/best_model.pdparams"

test: $(READY)
	@echo "== Tests on paddlepaddle $(PADDLE) =="
	$(BIN)/python -m pytest --numprocesses $(PROCESSES) --dist loadfile --no-loadscope-reorder \
		--max-worker-restart 0 $(TESTS)

$(PEERS_READY): benchmarks/requirements.txt
	@echo "== Environment $(PEERS): PyTorch, pytorchcv, ONNX Runtime, OpenVINO, paddleclas =="
	@test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	@$(PEERS)/bin/python -m pip install --requirement benchmarks/requirements.txt
	@$(PEERS)/bin/python -m pip install --no-deps paddleclas==2.6.0
	@touch $@

benchmark: $(READY) $(PEERS_READY)
	$(BIN)/python -m benchmarks.inference --peers $(PEERS)/bin/python $(BENCHMARK)

$(ZOO_READY): pyproject.toml constraints.txt benchmarks/requirements-zoo.txt
	@echo "== Environment $(ZOO): both toolkits, PyTorch, torchvision, timm, paddleclas (8 GB: PyTorch brings CUDA) =="
	@test -x $(ZOO)/bin/python || $(PYTHON) -m venv $(ZOO)
	@$(ZOO)/bin/python -m pip install --constraint constraints.txt "paddlepaddle==$(PADDLE)" \
		--requirement benchmarks/requirements-zoo.txt --editable ".[detection,segmentation,compare]"
	@$(ZOO)/bin/python -m pip install --no-deps paddleclas==2.6.0
	@touch $@

zoo: $(ZOO_READY)
	$(ZOO)/bin/python -m benchmarks.zoo $(BENCHMARK)

$(DOCS_READY): pyproject.toml constraints.txt
	@echo "== Environment $(DOCS): mkdocs-material, mkdocstrings, mermaidx =="
	@test -x $(DOCS)/bin/python || $(PYTHON) -m venv $(DOCS)
	@$(DOCS)/bin/python -m pip install --constraint constraints.txt --editable ".[docs]"
	@touch $@

docs: $(DOCS_READY)
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --strict
	@echo "open output/site/index.html"

docs-serve: $(DOCS_READY)
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs serve --dev-addr 127.0.0.1:8001 --watch configs --watch scripts

# mypy wants a folder of the package's name.
ROOMS = backbones cluster comparison datasets deploy engines errors features integrations necks pictures profiling registry reports \
	runtime scripts serving system tasks training weights

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/hadolint Dockerfile
	@mkdir -p $(VENV)/typing && ln -sfn "$(CURDIR)" $(VENV)/typing/densebone
	MYPYPATH=$(VENV)/typing $(BIN)/mypy --config-file pyproject.toml --cache-dir $(VENV)/typing/cache $(addprefix -p densebone.,$(ROOMS))

clean:
	rm -rf output build .pytest_cache .ruff_cache
