# `make` lists the commands. Each sets up what it needs, in .venv.

PORT ?= 8000
FILE = $(if $(filter tutorials/%,$(PAGE)),$(wildcard snippets/$(PAGE).py),$(wildcard docs/$(PAGE).md))
PROOF = $(dir tests/$(PAGE))test_$(notdir $(PAGE)).py
export NO_MKDOCS_2_WARNING = 1

.PHONY: help serve test page seeds releases builtins ratios bench build outputs lock
help:
	@echo "make serve    show the site on 127.0.0.1:$(PORT), rebuilt at each save (PORT=8001 for another port)"
	@echo "make test     run every block and prove every claim"
	@echo "make page     prove one page: PAGE=layers/custom_layer, its blocks, tests, downloads and look"
	@echo "make seeds    prove what depends on chance with five other seeds, and print what held"
	@echo "make releases run every block on other releases of Keras, and record what differs (KERAS=3.14.1 for one)"
	@echo "make builtins run the checkup on what Keras exports and on the right forms, and record what it finds"
	@echo "make ratios   time custom code against built-in code, and record the ratios (minutes; best on an idle machine)"
	@echo "make bench    time a build, a save until it shows, a search and a first visit"
	@echo "make build    build the site into site/, strictly"
	@echo "make outputs  run every block and record what it prints (PAGE=layers/custom_layer for those of one page)"
	@echo "make lock     resolve requirements.in into requirements.txt"

serve: .venv/ready
	@echo "Serving the site on http://127.0.0.1:$(PORT)/ - stop it with Ctrl+C"
	@.venv/bin/mkdocs serve --dev-addr 127.0.0.1:$(PORT)

test: .venv/ready
	@echo "Running every block of every page, and every test (TensorFlow takes a while to import)"
	@.venv/bin/pytest --numprocesses logical --cost

page: .venv/ready
	@test -n "$(PAGE)" -a -n "$(FILE)" || { echo "There is no docs/$(PAGE).md: make page PAGE=layers/custom_layer"; exit 2; }
	@test -f $(PROOF) || { echo "$(PROOF) is missing: write it (CONTRIBUTING.md, Add a page)"; exit 2; }
	@echo "Proving $(PAGE): the laws, its blocks, its tests, what is downloaded from it, and its look in Chromium"
	@.venv/bin/pytest --quiet tests/test_site.py -k "law or ruff"
	@.venv/bin/pytest $(FILE) $(PROOF) tests/test_site.py tests/test_prose.py tests/test_docstrings.py tests/test_classes.py \
		tests/takeaway tests/browser \
		-k "$(PAGE) or $(notdir $(PAGE)).md or $(notdir $(PAGE)).py or test_$(notdir $(PAGE)) or is_held or $(notdir $(PAGE)):" --numprocesses logical --cost

seeds: .venv/ready
	@echo "Proving what depends on chance with five other seeds"
	@.venv/bin/pytest tests -m chance --seeds 2,3,4,5,6 --numprocesses logical --quiet

releases: .venv/ready
	@.venv/bin/python -m engine.prove.releases $(KERAS) $(if $(CHECK),--check)

builtins: .venv/ready
	@.venv/bin/python -m tests.tools.builtin

ratios: .venv/ready
	@.venv/bin/python -m tests.tools.ratios

bench: .venv/ready
	@echo "Timing a build, a save until it shows, a search and a first visit (minutes; best on an idle machine)"
	@.venv/bin/pytest tests/browser/bench.py --capture=no --quiet

build: .venv/ready
	@echo "Building the site into site/"
	@.venv/bin/mkdocs build --strict

outputs: .venv/ready
	@echo "Running every block of $(or $(PAGE),every page), and recording what it prints"
	@.venv/bin/pytest $(if $(PAGE),$(FILE),docs snippets) --update-outputs --numprocesses logical
	@git status --short docs snippets

lock: .venv/ready
	@echo "Resolving requirements.in"
	@.venv/bin/pip install --quiet uv
	@.venv/bin/uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --upgrade \
		--no-annotate --no-header requirements.in --output-file requirements.txt

.venv/ready: requirements.txt
	@sh engine/setup.sh
	@touch $@
