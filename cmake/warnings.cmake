add_library(mflux_warnings INTERFACE)
target_compile_options(
  mflux_warnings
  INTERFACE -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wnon-virtual-dtor
            -Woverloaded-virtual
            # Same bytes on every machine: a*b+c is fused only where the source says so.
            -ffp-contract=off
            $<$<BOOL:${MFLUX_WERROR}>:-Werror>)
