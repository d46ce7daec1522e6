#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Compares the program with the Python references. Their environment, with torch, is made in build/oracle-venv.
set -euo pipefail
cd "$(dirname "$0")/.."

echo "Installing mflux, diffusers, torch, MLX and what they need into build/oracle-venv (once, some minutes)..."
bash tests/oracle/setup_venv.sh build/oracle-venv
echo "Comparing with mflux, diffusers and MLX (about 6 minutes)..."
MFLUX_PROGRAM=build/mflux build/oracle-venv/bin/python -m pytest -q -rs -p no:cacheprovider tests/oracle "$@"
