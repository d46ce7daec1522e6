# SPDX-License-Identifier: MIT
# The target mflux_mlx: MLX as the wheel in build/mlx-venv brings it (-DMLX_DIR=... names another), and on Linux
# OpenBLAS. That one is linked first, because the wheel's own BLAS is the slow reference one and symbols of the first
# library count.

set(MLX_WANTED 0.32.4)
if(APPLE AND NOT CMAKE_SYSTEM_PROCESSOR STREQUAL arm64)
  message(FATAL_ERROR "MLX, which makes the pictures, is for Macs with Apple's processors, and this build is for "
                      "${CMAKE_SYSTEM_PROCESSOR}. -DMFLUX_GENERATE=OFF builds what bakes and verifies, without it.")
endif()
if(NOT MLX_DIR)
  file(GLOB WHEEL ${PROJECT_SOURCE_DIR}/build/mlx-venv/lib/python3*/site-packages/mlx/share/cmake/MLX)
  if(WHEEL)
    set(MLX_DIR ${WHEEL} CACHE PATH "Where MLXConfig.cmake is" FORCE)
  endif()
endif()
find_package(MLX ${MLX_WANTED} CONFIG QUIET)
if(NOT MLX_FOUND)
  set(FOUND "none")
  if(MLX_CONSIDERED_VERSIONS)
    set(FOUND "${MLX_CONSIDERED_VERSIONS} (${MLX_CONSIDERED_CONFIGS})")
  endif()
  message(FATAL_ERROR "MLX ${MLX_WANTED} or newer is needed to make pictures; found: ${FOUND}. "
                      "scripts/dependencies.sh installs it into build/mlx-venv, -DMLX_DIR=... names the folder of "
                      "another MLXConfig.cmake, -DMFLUX_GENERATE=OFF builds what bakes and verifies, without it.")
endif()

add_library(mflux_mlx INTERFACE)
if(APPLE)
  # The wheel names frameworks by the paths of the machine that built it; the library itself knows what it needs.
  set_target_properties(mlx PROPERTIES INTERFACE_LINK_LIBRARIES "")
  target_link_libraries(mflux_mlx INTERFACE "-framework Accelerate")
else()
  pkg_check_modules(OPENBLAS REQUIRED IMPORTED_TARGET openblas)
  target_link_options(mflux_mlx INTERFACE "LINKER:--no-as-needed")
  target_link_libraries(mflux_mlx INTERFACE PkgConfig::OPENBLAS)
endif()
target_link_libraries(mflux_mlx INTERFACE mlx)
