# make demo    register a generated pair (or FIXED=... MOVING=...) and show the result
# make test    everything that must hold, under 15 minutes on 2 cores
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
OUTPUT ?= demo
# As the commands of the library do: threads that wait sleep soon, or a busy neighbor stops them all.
export GOMP_SPINCOUNT ?= 10000

.PHONY: demo test test-slow lint clean

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo,test]'
	touch $@

demo: $(VENV)/.ready
	$(BIN)/python -m Testing.system_libraries gl
	$(BIN)/python -m Testing.demo --output $(OUTPUT) $(if $(FIXED),--fixed "$(FIXED)") $(if $(MOVING),--moving "$(MOVING)")

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: $(VENV)/.ready lint
	$(BIN)/python -m Testing.system_libraries qt gl
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

test-slow: $(VENV)/.ready
	$(BIN)/python -m Testing.system_libraries qt gl
	$(BIN)/python -m pytest -m slow

clean:
	rm -rf $(VENV) build demo *.egg-info
