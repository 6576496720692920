# Makes .venv and installs what requirements.txt locks. Called by make, once, and again when the lock changes.

fail() {
    printf '\n%s\n' "$@" >&2
    exit 1
}

# The first Python that TensorFlow has packages for; PYTHON=... overrides the search.
fits='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'
for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python}; do
    if command -v "$candidate" >/dev/null 2>&1; then
        found="$found $($candidate --version 2>&1),"
        if "$candidate" -c "$fits" >/dev/null 2>&1; then
            python=$candidate
            break
        fi
    fi
done
[ -n "$python" ] || fail \
    "TensorFlow 2.21 needs Python 3.11, 3.12 or 3.13, and found is:${found:- no Python at all.}" \
    "Install one of them, or name it: make PYTHON=/path/to/python3.12 ..."

if ! .venv/bin/python -c "$fits" >/dev/null 2>&1 || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    echo "Making .venv with $($python --version)"
    "$python" -m venv --clear .venv || fail \
        "This Python can't make a virtual environment (see above)." \
        "On Debian and Ubuntu the package python3-venv is missing; elsewhere, install Python whole." \
        "Or install uv and run: uv run mkdocs serve, uv run pytest."
fi

echo "Installing what requirements.txt locks into .venv: TensorFlow is large, this takes minutes, once"
if ! .venv/bin/python -m pip install --requirement requirements.txt --retries 2 2>.venv/errors.txt; then
    cat .venv/errors.txt >&2
    if grep -qiE 'connection|timed out|name resolution|proxy|ssl' .venv/errors.txt; then
        fail "The package registry can't be reached." \
            "Check the network, or name a mirror with PIP_INDEX_URL (and a proxy with HTTPS_PROXY), and run the command again."
    fi
    fail "The packages could not be installed (see above)." \
        "If a package has no version for this machine: TensorFlow has packages for Linux, macOS on ARM and Windows."
fi
