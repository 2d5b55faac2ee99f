# Everything a developer does. A fresh machine needs Python 3.11 and make; the rest is installed here.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PYTEST_ARGS ?= -n 2

.PHONY: demo test unit lint types bench crash lock clean
.DEFAULT_GOAL := test

demo: $(VENV)/.demo  ## install, start the thumbnail pipeline, say what to try
	@echo
	@echo "  drop a picture:   cp photo.jpg examples/thumbnail_pipeline/uploads/"
	@echo "  fetch it:         curl -o thumb.jpg http://127.0.0.1:8080/thumbs/photo.jpg"
	@echo "  break it:         echo nonsense > examples/thumbnail_pipeline/uploads/broken.jpg"
	@echo "  stop with Ctrl-C"
	@echo
	@exec $(BIN)/eventmesh run examples/thumbnail_pipeline/mappings.yaml

test: $(VENV)/.dev  ## install what the tests need and run them all
	scripts/install-tools
	PATH="$(abspath $(BIN)):$$PATH" scripts/servers install
	$(BIN)/pytest $(PYTEST_ARGS) --ignore=tests/crash/test_crash.py

unit: $(VENV)/.dev  ## the fast tests
	$(BIN)/pytest -n 2 tests/unit tests/contract

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

bench: $(VENV)/.dev  ## side by side with peers; prints ratios of medians
	$(BIN)/python -m benchmarks

crash: $(VENV)/.dev  ## kill the engine hundreds of times, source by source; SOURCE=kafka KILLS=300
	$(BIN)/pytest tests/crash
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m tests.crash $(if $(SOURCE),--source $(SOURCE)) --kills $(or $(KILLS),300)

lock: $(VENV)/.dev  ## pin every dependency again, with hashes
	scripts/lock $(BIN)/uv

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/.venv:
	scripts/make-venv $(PYTHON) $(VENV)
	@touch $@

$(VENV)/.demo: $(VENV)/.venv requirements/demo.lock pyproject.toml
	$(BIN)/pip install --quiet --require-hashes -r requirements/demo.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.venv requirements/dev.lock pyproject.toml
	$(BIN)/pip install --quiet --require-hashes -r requirements/dev.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@
