# SPDX-License-Identifier: MIT
# The two libraries: mflux::mflux bakes, verifies and reports, mflux::generate makes pictures and needs MLX.

include(${CMAKE_CURRENT_LIST_DIR}/headers_behind.cmake)

find_package(fmt REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(TBB REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(HWY REQUIRED IMPORTED_TARGET libhwy)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)
pkg_check_modules(PICTURES REQUIRED IMPORTED_TARGET libpng zlib libturbojpeg libwebpdemux libtiff-4)
find_package(GIF REQUIRED)

# Membership is by folder. mflux/generate.h is the face of the one that needs MLX.
set(NEEDS_MLX "^mflux/(nn/|pipelines/|generate/|generate\\.)")
file(GLOB_RECURSE MFLUX_SOURCES CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR} mflux/*.cpp)
file(GLOB_RECURSE MFLUX_HEADERS CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR} mflux/*.h)
list(FILTER MFLUX_HEADERS EXCLUDE REGEX "-inl\\.h$")  # compiled once per SIMD target, not alone
foreach(kind SOURCES HEADERS)
  set(GENERATE_${kind} ${MFLUX_${kind}})
  list(FILTER GENERATE_${kind} INCLUDE REGEX ${NEEDS_MLX})
  list(FILTER MFLUX_${kind} EXCLUDE REGEX ${NEEDS_MLX})
endforeach()

# The headers of a library: those behind `face` are public, and are installed. The others are known to a target of
# their own, by which each is compiled alone too.
function(add_headers target face)
  headers_behind(${PROJECT_SOURCE_DIR} ${face} behind)
  set(public ${face})
  foreach(header IN LISTS behind)
    if(header IN_LIST ARGN)
      list(APPEND public ${header})
    endif()
  endforeach()
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${public})
  set(inner ${ARGN})
  list(REMOVE_ITEM inner ${public})
  target_sources(${target} PUBLIC FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR} FILES ${public})
  set_target_properties(${target} PROPERTIES VERIFY_INTERFACE_HEADER_SETS ON)
  add_library(${target}_inner_headers INTERFACE)
  target_sources(
    ${target}_inner_headers INTERFACE FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR} FILES ${inner})
  target_link_libraries(${target}_inner_headers INTERFACE ${target})
  set_target_properties(${target}_inner_headers PROPERTIES VERIFY_INTERFACE_HEADER_SETS ON)
endfunction()

# Highway compiles such a file once per SIMD target. Without optimization g++ 12 refuses AVX-512's intrinsics after a
# precompiled header.
foreach(source IN LISTS MFLUX_SOURCES GENERATE_SOURCES)
  file(STRINGS ${source} PER_TARGET REGEX "foreach_target\\.h" LIMIT_COUNT 1)
  if(PER_TARGET)
    set_source_files_properties(
      ${source} PROPERTIES SKIP_PRECOMPILE_HEADERS ON SKIP_UNITY_BUILD_INCLUSION ON)
  endif()
endforeach()
add_library(mflux STATIC ${MFLUX_SOURCES})
add_library(mflux::mflux ALIAS mflux)
add_headers(mflux mflux/mflux.h ${MFLUX_HEADERS})
target_compile_features(mflux PUBLIC cxx_std_20)
# Where nobody thought of optimization a bake would take ten times as long.
set(OPTIMIZED "")
if(NOT CMAKE_CXX_FLAGS MATCHES "-O")
  set(OPTIMIZED $<$<CONFIG:>:-O2>)
endif()
target_compile_options(mflux PRIVATE ${OPTIMIZED})
# The kernels hold vectors in arrays, which targets without a fixed vector length do not allow.
set(FIXED_VECTORS "HWY_DISABLED_TARGETS=(HWY_SVE|HWY_SVE2|HWY_SVE_256|HWY_SVE2_128|HWY_RVV)")
target_compile_definitions(mflux PRIVATE "${FIXED_VECTORS}")
set_source_files_properties(mflux/version.cpp PROPERTIES COMPILE_DEFINITIONS MFLUX_VERSION="${PROJECT_VERSION}")
target_link_libraries(
  mflux
  PUBLIC fmt::fmt
  PRIVATE TBB::tbb OpenSSL::Crypto PkgConfig::HWY PkgConfig::XXHASH PkgConfig::UTF8PROC PkgConfig::PICTURES GIF::GIF
          $<BUILD_INTERFACE:nlohmann_json::nlohmann_json> $<BUILD_INTERFACE:mflux_warnings>)
# Parsed once, not two hundred times. Files still include what they name: headers are verified without.
set(PARSED_ONCE <algorithm> <filesystem> <functional> <map> <optional> <span> <string> <string_view> <vector>
                <fmt/format.h>)
target_precompile_headers(mflux PRIVATE ${PARSED_ONCE} <nlohmann/json.hpp>)

if(MFLUX_GENERATE)
  include(${CMAKE_CURRENT_LIST_DIR}/mlx.cmake)
  include(${CMAKE_CURRENT_LIST_DIR}/onednn.cmake)
  add_library(mflux_generate STATIC ${GENERATE_SOURCES})
  add_library(mflux::generate ALIAS mflux_generate)
  add_headers(mflux_generate mflux/generate.h ${GENERATE_HEADERS})
  target_compile_options(mflux_generate PRIVATE ${OPTIMIZED})
  target_compile_definitions(mflux_generate PRIVATE "${FIXED_VECTORS}")
  target_link_libraries(
    mflux_generate
    PUBLIC mflux mflux_mlx
    PRIVATE TBB::tbb PkgConfig::HWY mflux_onednn $<BUILD_INTERFACE:nlohmann_json::nlohmann_json>
            $<BUILD_INTERFACE:mflux_warnings>)
  set_target_properties(
    mflux_generate PROPERTIES UNITY_BUILD ${MFLUX_UNITY} EXPORT_NAME generate)
  target_precompile_headers(mflux_generate PRIVATE ${PARSED_ONCE} <nlohmann/json.hpp> <mlx/mlx.h>)
endif()
