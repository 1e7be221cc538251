# What CI calls is what you call. `make demo` and `make test` need only Python 3.11 and pip.
PYTHON ?= python3.11
BIN := .venv/bin

.PHONY: setup demo test test-slow lint lint-format lint-style lint-types lint-imports fmt bench docs lock lock-check newest wheel release clean

setup: .venv/stamp

# Rebuilt when the lock or the project's metadata changes; the seconds it took are kept for the demo.
.venv/stamp: requirements.txt pyproject.toml
	@start=$$(date +%s) && \
	{ [ -x $(BIN)/pip ] || $(PYTHON) -m venv .venv; } && \
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt && \
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . && \
	echo $$(( $$(date +%s) - start )) > .venv/setup_s && \
	touch $@ && echo "set up in $$(cat .venv/setup_s) s"

demo: setup
	$(BIN)/pocketrec bench demo --json benchmarks/out/demo.json

test: setup
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"

# The benchmarks' small twins, and tests that train or install for minutes; CI runs them too.
test-slow: setup
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m slow

# Also the hooks of .pre-commit-config.yaml.
lint: lint-format lint-style lint-types lint-imports
lint-format: setup
	$(BIN)/ruff format --check .
lint-style: setup
	$(BIN)/ruff check .
lint-types: setup
	$(BIN)/mypy
lint-imports: setup
	$(BIN)/lint-imports

fmt: setup
	$(BIN)/ruff format . && $(BIN)/ruff check --fix .

bench: setup
	$(BIN)/pocketrec bench all --json benchmarks/out

# The reference of the command line, then the site in out/docs; a warning is an error.
docs: setup
	$(BIN)/python -m pocketrec.reference docs/cli-reference.md
	$(BIN)/python -m benchmarks.results_page docs/benchmarks.md README.md
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going -c docs . out/docs

# Linux x86-64, Python 3.11. Needs uv (https://docs.astral.sh/uv); keeps locked versions where it can.
LOCK := uv pip compile --quiet pyproject.toml --extra train --extra edge --extra server --extra docs --extra dev \
	--python-version 3.11 --python-platform x86_64-manylinux_2_28 --generate-hashes \
	--custom-compile-command "make lock" --no-emit-index-url --no-emit-find-links --output-file

lock:
	$(LOCK) requirements.txt

# Is the lock up to date, and has each extra of the device wheels for each system? Needs uv and an index.
EDGE_SYSTEMS := x86_64-pc-windows-msvc aarch64-apple-darwin aarch64-manylinux_2_34 x86_64-manylinux_2_28
lock-check:
	@mkdir -p out && cp requirements.txt out/lock.txt && $(LOCK) out/lock.txt && diff requirements.txt out/lock.txt
	@for extra in edge onnx tflite; do for system in $(EDGE_SYSTEMS); do for python in 3.11 3.12; do \
		uv pip compile --quiet pyproject.toml --extra $$extra --extra simulator --only-binary :all: \
			--python-platform $$system --python-version $$python --no-header --output-file out/edge.txt \
			>/dev/null || exit 1; \
		echo "$$extra $$system $$python: $$(grep -c == out/edge.txt) wheels"; rm out/edge.txt; \
	done; done; done

# The tests with the newest versions instead of the lock's; CI does not call it. `CAPS=no` also drops the
# upper bounds and pins of pyproject.toml; those that packages set for each other stay.
# NEWEST_TESTS chooses tests: make newest CAPS=no NEWEST_TESTS="tests/training/data -k ibis"
NEWEST := out/newest/venv/bin
NEWEST_TESTS ?= -n 2 --dist loadfile
newest:
	rm -rf out/newest && mkdir -p out/newest && $(PYTHON) -m venv out/newest/venv
	$(NEWEST)/pip install --quiet --disable-pip-version-check --upgrade pip packaging
	$(NEWEST)/python .ci/newest.py requirements $(if $(filter no,$(CAPS)),--without-caps) > out/newest/asked.txt
	$(NEWEST)/pip install --quiet -r out/newest/asked.txt
	$(NEWEST)/pip install --quiet --no-deps --no-build-isolation -e .
	$(NEWEST)/python .ci/newest.py report requirements.txt | tee out/newest/versions.txt
	$(NEWEST)/python -m pytest $(NEWEST_TESTS)

# Source archive and wheel in dist/, checked; the wheel runs alone (numpy and click) in a fresh environment.
wheel: setup
	$(BIN)/python .ci/release.py --build-only

# The same for a commit that is ready to be tagged. Prints the tag; pushes nothing.
release: setup
	$(BIN)/python .ci/release.py

clean:
	rm -rf dist out work benchmarks/out .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
