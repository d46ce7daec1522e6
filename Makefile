# SPDX-License-Identifier: MIT
# The commands people type. Everything they make goes to build/.
#
#   make demo    install what is missing, build the program, bake LoRAs into two small models, prove them, draw before and after
#   make test    install what is missing, build everything, run the tests
#   make oracle  compare with Python's programs: mflux, diffusers, MLX, LyCORIS (installs torch)

.PHONY: program build test demo oracle format tidy clean

program:
	scripts/dependencies.sh
	scripts/build.sh release mflux_cli

demo: program
	scripts/demo.sh

build:
	scripts/dependencies.sh --test
	scripts/build.sh

test: build
	scripts/test.sh

oracle:
	scripts/dependencies.sh --oracle
	scripts/build.sh release mflux_cli probes
	scripts/oracle.sh

format:
	scripts/format.sh --fix

tidy: build
	scripts/tidy.sh

clean:
	rm -rf build
