# SPDX-License-Identifier: MIT
# What `cmake --install build` copies of the libraries: mflux::mflux and mflux::generate for find_package(mflux), mflux.pc
# for pkg-config, the headers that mflux/mflux.h includes, and the MLX of build/mlx-venv, which is of no package.

include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(PACKAGE ${CMAKE_INSTALL_LIBDIR}/cmake/mflux)

function(install_library target export)
  install(TARGETS ${target} EXPORT ${export} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development
          FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development)
  install(EXPORT ${export} NAMESPACE mflux:: DESTINATION ${PACKAGE} COMPONENT development)
endfunction()
install_library(mflux mfluxTargets)

set(INSTALLED_MLX ${CMAKE_INSTALL_LIBDIR}/mflux/mlx)
set(MLX_FROM_WHEEL FALSE)
if(MFLUX_GENERATE)
  install_library(mflux_generate mfluxGenerateTargets)
  install(TARGETS mflux_mlx mflux_onednn EXPORT mfluxGenerateTargets)
  if(MLX_DIR MATCHES "site-packages")
    set(MLX_FROM_WHEEL TRUE)
    cmake_path(SET SITE_PACKAGES NORMALIZE ${MLX_DIR}/../../../..)
    install(DIRECTORY ${SITE_PACKAGES}/mlx/lib DESTINATION ${INSTALLED_MLX})
    if(NOT APPLE)
      install(DIRECTORY ${SITE_PACKAGES}/mlx_cpu.libs DESTINATION ${CMAKE_INSTALL_LIBDIR}/mflux)
    endif()
  endif()
endif()

configure_package_config_file(
  ${CMAKE_CURRENT_LIST_DIR}/mfluxConfig.cmake.in ${PROJECT_BINARY_DIR}/package/mfluxConfig.cmake
  INSTALL_DESTINATION ${PACKAGE} PATH_VARS INSTALLED_MLX)
write_basic_package_version_file(
  ${PROJECT_BINARY_DIR}/package/mfluxConfigVersion.cmake COMPATIBILITY SameMinorVersion)
# From mflux.pc to the prefix, which cmake --install may be told anew.
file(RELATIVE_PATH UP /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
configure_file(${CMAKE_CURRENT_LIST_DIR}/mflux.pc.in ${PROJECT_BINARY_DIR}/package/mflux.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/package/mfluxConfig.cmake ${PROJECT_BINARY_DIR}/package/mfluxConfigVersion.cmake
        DESTINATION ${PACKAGE} COMPONENT development)
install(FILES ${PROJECT_BINARY_DIR}/package/mflux.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT development)

if(MFLUX_PROGRAM)
  include(${CMAKE_CURRENT_LIST_DIR}/install_program.cmake)
endif()
