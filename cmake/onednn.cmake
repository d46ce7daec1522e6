# SPDX-License-Identifier: MIT
# The target mflux_onednn: oneDNN, by which mflux/nn/cpu multiplies, in bfloat16 on CPUs that can. Empty without it.
# Only the kind that runs on OpenMP lets each of our threads calculate alone.
#
# The header and the library are looked for by name: oneDNN's own CMake package ends the configuration where OpenCL's
# development files are missing, which we do not use and Debian does not bring along.

set(MFLUX_ONEDNN AUTO CACHE STRING "Multiply by oneDNN: ON, OFF, or AUTO, if it is there")
set_property(CACHE MFLUX_ONEDNN PROPERTY STRINGS AUTO ON OFF)

add_library(mflux_onednn INTERFACE)
if(MFLUX_ONEDNN AND NOT APPLE)
  find_path(ONEDNN_INCLUDE dnnl.h)
  find_library(ONEDNN_LIBRARY dnnl)
  mark_as_advanced(ONEDNN_INCLUDE ONEDNN_LIBRARY)
  if(ONEDNN_INCLUDE AND ONEDNN_LIBRARY)
    set(ONEDNN_LINKS ${ONEDNN_LIBRARY} -l:libgomp.so.1)
    include(CheckCXXSourceCompiles)
    set(CMAKE_REQUIRED_INCLUDES ${ONEDNN_INCLUDE})
    set(CMAKE_REQUIRED_LIBRARIES ${ONEDNN_LINKS})
    check_cxx_source_compiles("
      #include <dnnl.h>
      extern \"C\" void omp_set_num_threads(int);
      static_assert(DNNL_VERSION_MAJOR == 2 && DNNL_CPU_RUNTIME == DNNL_RUNTIME_OMP);
      int main() { omp_set_num_threads(1); return dnnl_version()->major == 2 ? 0 : 1; }" ONEDNN_WORKS)
    unset(CMAKE_REQUIRED_INCLUDES)
    unset(CMAKE_REQUIRED_LIBRARIES)
  endif()
  if(ONEDNN_WORKS)
    target_include_directories(mflux_onednn SYSTEM INTERFACE ${ONEDNN_INCLUDE})
    target_link_libraries(mflux_onednn INTERFACE ${ONEDNN_LINKS})
    target_compile_definitions(mflux_onednn INTERFACE MFLUX_ONEDNN)
  elseif(MFLUX_ONEDNN STREQUAL AUTO)
    message(STATUS "oneDNN 2 on OpenMP is not here: pictures are computed in float32, by OpenBLAS")
  else()
    message(FATAL_ERROR "MFLUX_ONEDNN: oneDNN 2 on OpenMP is not here (Debian: libdnnl-dev)")
  endif()
endif()
