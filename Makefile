# SPDX-License-Identifier: MIT
# The commands people type. Everything they make goes to build/.
#
#   make test    install what is missing, build, run every test
#   make demo    install what is missing, build, bake LoRAs into two small models, prove them, draw before and after

.PHONY: build test demo format tidy clean

build:
	scripts/dependencies.sh
	scripts/build.sh

test: build
	scripts/test.sh

demo: build
	scripts/demo.sh

format:
	scripts/format.sh --fix

tidy: build
	scripts/tidy.sh

clean:
	rm -rf build
