# Everything a developer runs. `make demo` and `make test` need nothing but this checkout and a Python to start with.
PYTHON := .venv/bin/python
WORKERS ?= 2

.PHONY: demo test unit e2e check format bench venv clean

venv:
	@devtools/venv.sh

demo: venv  ## a picture becomes a video in a real AstrBot; ONCE=1 exits after it, BACKEND=veo tries another protocol
	@$(PYTHON) -m devtools.demo $(if $(ONCE),--once) $(if $(BACKEND),--backend "$(BACKEND)")

test: venv unit e2e  ## everything

unit: venv
	$(PYTHON) -m pytest -q -m "not e2e" -n $(WORKERS)

e2e: venv
	$(PYTHON) -m pytest -q -m e2e -n $(WORKERS) --dist loadgroup

check: venv  ## format, lint, types, unit tests
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy core devtools
	@mkdir -p build/types && ln -sfn ../.. build/types/astrbot_plugin_gitee
	MYPYPATH=build/types $(PYTHON) -m mypy -m astrbot_plugin_gitee.main
	$(PYTHON) -m pytest -q -m "not e2e" -n $(WORKERS)

format: venv
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .

bench: venv  ## the measures, beside the physical limit; writes bench/RESULTS.md
	$(PYTHON) -m bench.run

clean:
	rm -rf .venv build .pytest_cache .mypy_cache .ruff_cache
