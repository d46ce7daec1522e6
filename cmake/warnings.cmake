add_library(mflux_warnings INTERFACE)
target_compile_options(
  mflux_warnings
  INTERFACE -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wnon-virtual-dtor
            -Woverloaded-virtual
            # Same bytes on every machine: a*b+c is fused only where the source says so.
            -ffp-contract=off
            # g++ 12 finds overlaps and overruns in std::string that are not there: https://gcc.gnu.org/PR105651
            "$<$<AND:$<CXX_COMPILER_ID:GNU>,$<VERSION_LESS:$<CXX_COMPILER_VERSION>,13>>:-Wno-restrict;-Wno-array-bounds;-Wno-stringop-overread;-Wno-stringop-overflow>"
            # g++ takes a source that another one includes for a header.
            $<$<AND:$<CXX_COMPILER_ID:GNU>,$<BOOL:$<TARGET_PROPERTY:UNITY_BUILD>>>:-Wno-subobject-linkage>
            $<$<BOOL:${MFLUX_WERROR}>:-Werror>)
