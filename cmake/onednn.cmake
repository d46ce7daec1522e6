# SPDX-License-Identifier: MIT
# The target mflux_onednn: oneDNN, by which mflux/nn/cpu multiplies, in bfloat16 on CPUs that can. Empty without it.
# Only the kind that runs on OpenMP lets each of our threads calculate alone.

set(MFLUX_ONEDNN AUTO CACHE STRING "Multiply by oneDNN: ON, OFF, or AUTO, if it is there")
set_property(CACHE MFLUX_ONEDNN PROPERTY STRINGS AUTO ON OFF)

add_library(mflux_onednn INTERFACE)
if(MFLUX_ONEDNN AND NOT APPLE)
  find_package(dnnl 2 CONFIG QUIET)
  if(dnnl_FOUND AND DNNL_CPU_RUNTIME STREQUAL OMP)
    target_link_libraries(mflux_onednn INTERFACE DNNL::dnnl gomp)
    target_compile_definitions(mflux_onednn INTERFACE MFLUX_ONEDNN)
  elseif(NOT MFLUX_ONEDNN STREQUAL AUTO)
    message(FATAL_ERROR "MFLUX_ONEDNN: oneDNN 2 on OpenMP is not here (Debian: libdnnl-dev)")
  endif()
endif()
