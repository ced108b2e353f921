#!/bin/sh
# Make .venv with a Python that AstrBot accepts (3.12 or 3.13) and everything of requirements-dev.txt.
# Usage: devtools/venv.sh [requirements file [folder]]
set -eu
cd "$(dirname "$0")/.."
requirements=${1:-requirements-dev.txt}
venv=${2:-.venv}
stamp="$venv/.installed"
if [ -f "$stamp" ] && [ -z "$(find requirements*.txt "$requirements" -newer "$stamp")" ]; then exit 0; fi

works() { "$1" -c 'import sys, venv; sys.exit(not (3, 12) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; }

python=
for candidate in "${PYTHON:-}" python3.12 python3.13 python3 \
    "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.12*/bin/python "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.13*/bin/python; do
    # A pyenv shim answers to the name and still cannot run: only running it tells.
    if [ -n "$candidate" ] && works "$candidate"; then python=$candidate; break; fi
done

uv=$(command -v uv || true)
if [ -z "$uv" ]; then
    echo "venv: installing uv into build/uv"
    python3 -m venv build/uv && build/uv/bin/pip install --quiet uv && uv=build/uv/bin/uv || uv=
fi
if [ -z "$python" ] && [ -z "$uv" ]; then
    echo "venv: found neither Python 3.12/3.13 nor a way to fetch it; install one of them and try again" >&2
    exit 1
fi
rm -rf "$venv"
echo "venv: ${python:-Python 3.12, fetched by uv} -> $venv"
if [ -n "$uv" ]; then
    "$uv" venv --quiet --python "${python:-3.12}" "$venv"
    "$uv" pip install --quiet --python "$venv/bin/python" -r "$requirements"
else
    "$python" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet -r "$requirements"
fi
touch "$stamp"
