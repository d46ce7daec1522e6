#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Runs every test of the release build: the C++ ones, then the comparison with the Python references.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/dependencies.sh --test
ctest --test-dir build --output-on-failure --no-tests=error -j "$(getconf _NPROCESSORS_ONLN)" --timeout 300

echo "Comparing with mflux, diffusers and MLX (Python)..."
bash tests/oracle/setup_venv.sh build/oracle-venv
MFLUX_PROGRAM=build/mflux build/oracle-venv/bin/python -m pytest -q -p no:cacheprovider tests/oracle
