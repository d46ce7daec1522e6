# SPDX-License-Identifier: MIT
# The target mflux_mlx: MLX as the wheel in build/mlx-venv or Homebrew brings it (-DMLX_DIR=... names another), and
# on Linux OpenBLAS. That one is linked first, because the wheel's own BLAS is the slow reference one and symbols
# of the first library count.

if(NOT MLX_DIR)
  file(GLOB WHEEL ${PROJECT_SOURCE_DIR}/build/mlx-venv/lib/python3*/site-packages/mlx/share/cmake/MLX)
  if(WHEEL)
    set(MLX_DIR ${WHEEL} CACHE PATH "Where MLXConfig.cmake is" FORCE)
  endif()
endif()
find_package(MLX CONFIG REQUIRED)

add_library(mflux_mlx INTERFACE)
if(APPLE)
  target_link_libraries(mflux_mlx INTERFACE "-framework Accelerate")
else()
  pkg_check_modules(OPENBLAS REQUIRED IMPORTED_TARGET openblas)
  target_link_options(mflux_mlx INTERFACE "LINKER:--no-as-needed")
  target_link_libraries(mflux_mlx INTERFACE PkgConfig::OPENBLAS)
endif()
target_link_libraries(mflux_mlx INTERFACE mlx)
