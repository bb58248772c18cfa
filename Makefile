# `make demo` and `make test` need nothing but Python >= 3.11 with venv, and make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
CORE   := $(VENV)/.core
READY  := $(VENV)/.ready
BENCH  := .venv-bench
RIVALS := $(BENCH)/.ready
TOOLS  := .bench-tools/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test unit mutants crash backfill faults fates fleet outbox kafka partitions image-test clouds pictures bench-tools bench bench-quick check format lock clean

help:  ## Show this help
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

# Most tests wait for servers and clocks, not for a processor.
WORKERS ?= 6

# Tests start Python hundreds of times: each would compile the whole package where this is set.
test unit: export PYTHONDONTWRITEBYTECODE :=

# What the demo needs: sender itself runs from the folder.
$(CORE): requirements-core.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "sender needs Python 3.11 or newer; call make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements-core.lock
	touch $@

$(READY): $(CORE) requirements-dev.lock pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: $(CORE)  ## Start the sandbox and send examples/receipts.jsonl to it at 100/s
	@PYTHONPATH=. sh examples/demo.sh $(BIN)/python -m sender

test: $(READY)  ## Run all tests
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile

unit: $(READY)  ## Run the tests that need neither a broker nor a browser, and none that takes long
	$(BIN)/python -m pytest -q -n 4 --dist loadfile -m "not server and not slow"

mutants: $(READY)  ## Change the lines of pacer, verdict, decision, matching and ledger, and list those no test holds
	$(BIN)/python -m pip install --quiet --disable-pip-version-check mutmut==3.8.1
	@$(BIN)/python -m tests.campaigns.mutants

crash: $(READY)  ## Kill it 200 times at random instants and compare its books with the server's
	@$(BIN)/python -m tests.campaigns.crash --kills 200

backfill: $(READY)  ## Send 20,000 orders with invoices from CSV, Parquet in a bucket and a query, killed on the way
	@ORDERS=20000 $(BIN)/python -m pytest -q tests/send/test_backfill.py -k all_three

faults: $(READY)  ## Send 3,000 jobs to an API that resets, hangs and fails, and compare the books
	@$(BIN)/python -m tests.campaigns.faults

fates: $(READY)  ## Watch 20,000 receipts live, pause them, follow them by lists and by webhooks, and compare the books
	@$(BIN)/python -m tests.campaigns.fates

fleet: $(READY)  ## Four replicas and every mishap at random, 10,000 jobs on each broker, and the verdict (root: partitions)
	@$(BIN)/python -m tests.campaigns.fleet

outbox: $(READY)  ## Four replicas on one PostgreSQL as queue and state, killed and restarted, 10,000 receipts (JOBS, STATE)
	@$(BIN)/python -m tests.campaigns.outbox --jobs $(or $(JOBS),10000) --state $(or $(STATE),postgres)

kafka: $(READY)  ## Four replicas on a Kafka topic, 10,000 jobs, rebalances all the time, kill -9, restarts; and the verdict
	@$(BIN)/python benchmarks/rebalances.py --save

partitions: $(READY)  ## Cut replicas on hosts of their own off from Redis and the API, and compare the books (root)
	@$(BIN)/python benchmarks/partitions.py --save

image-test: $(READY)  ## Build the image, start it with a read-only root, send with it and drain it (root)
	@$(BIN)/python -m tests.campaigns.image

# Azurite wants npm, fake-gcs-server Go.
CLOUDS := $(VENV)/.clouds

$(CLOUDS)/.ready:
	npm install --silent --no-save --prefix $(CLOUDS) azurite@3.35.0
	GOBIN=$(abspath $(CLOUDS)) go install github.com/fsouza/fake-gcs-server@v1.56.1
	touch $@

clouds: $(READY) $(CLOUDS)/.ready  ## Send from buckets of Azurite and fake-gcs-server (npm and go)
	@PATH="$(abspath $(CLOUDS)):$(abspath $(CLOUDS))/node_modules/.bin:$$PATH" $(BIN)/python -m tests.campaigns.clouds

$(RIVALS): requirements.lock benchmarks/rivals.lock
	test -x $(BENCH)/bin/python || $(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r benchmarks/rivals.lock
	$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@

pictures: $(READY)  ## Take the pictures of the documentation anew, with Chromium
	SENDER_PICTURES=1 $(BIN)/python -m pytest -q tests/send/test_live.py tests/report/test_fates.py -k "page or browser"

# Load generators to compare with, from apt, npm, go and cargo; the tables name those that cannot be had.
$(TOOLS): benchmarks/tools.py
	mkdir -p $(dir $@)
	$(PYTHON) benchmarks/tools.py
	touch $@

bench-tools: $(TOOLS)  ## Install hey, autocannon, wrk, h2load, oha, vegeta and k6 into .bench-tools

bench: $(READY) $(RIVALS) $(TOOLS)  ## Measure it beside its rivals into benchmarks/RESULTS.md; 50 minutes, or BENCH_MINUTES=20
	@$(BENCH)/bin/python benchmarks/run_all.py

bench-quick: $(RIVALS)  ## Check the main ratios in 3 minutes; exit 1 when one fell by more than 15 %
	@$(BENCH)/bin/python benchmarks/quick.py

check: $(READY)  ## Lint, check types and the rules of imports
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)  ## Mend what the linter can mend
	$(BIN)/ruff check --fix-only .

lock:  ## Renew the lock files from pyproject.toml (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --all-extras -o requirements.lock pyproject.toml
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links -c requirements.lock -o requirements-core.lock pyproject.toml
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --all-extras --group dev -c requirements.lock -o requirements-dev.lock pyproject.toml
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links -c requirements-dev.lock --group build -o requirements-build.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links -c requirements.lock -o benchmarks/rivals.lock benchmarks/rivals.txt

clean:  ## Remove what make made
	rm -rf $(VENV) $(BENCH) .bench-tools .mypy_cache .ruff_cache .pytest_cache .hypothesis
