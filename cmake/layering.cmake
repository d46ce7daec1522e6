# SPDX-License-Identifier: MIT
# Fails where a folder includes what it may not: cmake -DROOT=<source folder> -P cmake/layering.cmake
#
# Each rule names a folder and a regular expression of the headers it may include, besides the standard library and
# POSIX. A file follows the longest folder it lies in. docs/architecture.md shows the same table for people.

cmake_minimum_required(VERSION 3.24)

set(BASE "mflux/base/.*|fmt/.*")
set(FOLDERS mflux/base mflux/safetensors mflux/hub mflux/kernels mflux/lora mflux/models mflux/tokenizer
    mflux/image mflux/nn mflux/pipelines mflux cli examples)
set(MAY_mflux/base        "${BASE}|xxh[a-z0-9_]*\\.h|openssl/.*")
set(MAY_mflux/safetensors "${BASE}|mflux/safetensors/.*|nlohmann/.*")
set(MAY_mflux/hub         "${BASE}|mflux/hub/.*|mflux/models/family\\.h")
set(MAY_mflux/kernels     "${BASE}|mflux/kernels/.*|hwy/.*")
set(MAY_mflux/lora        "${BASE}|mflux/lora/.*|mflux/safetensors/.*|mflux/kernels/.*|nlohmann/.*")
set(MAY_mflux/models      "${BASE}|mflux/models/.*|mflux/lora/target\\.h|nlohmann/.*")
set(MAY_mflux/tokenizer   "${BASE}|mflux/tokenizer/.*|nlohmann/.*|utf8proc\\.h")
set(MAY_mflux/image       "${BASE}|mflux/image/.*|(png|zlib|turbojpeg)\\.h")
set(MAY_mflux/nn          "${BASE}|mflux/nn/.*|mflux/kernels/.*|mflux/lora/contributions\\.h|mflux/(checkpoint|decode)\\.h|mlx/.*|hwy/.*|tbb/.*|cblas\\.h|Accelerate/.*")
set(MAY_mflux/pipelines   "${BASE}|mflux/pipelines/.*|mflux/nn/.*|mflux/tokenizer/.*|mflux/checkpoint\\.h|nlohmann/.*|mlx/.*")
set(MAY_mflux             "${BASE}|mflux/.*|nlohmann/.*|tbb/.*|mlx/.*")
set(MAY_cli               "${BASE}|mflux/[a-z_]+\\.h|mflux/hub/hub\\.h|mflux/image/png\\.h|mflux/lora/family\\.h|cli/.*|CLI/.*|nlohmann/.*|toml\\+\\+/.*")
set(MAY_examples          "${BASE}|mflux/.*|tests/.*")
# Slow to compile: in sources only.
set(NOT_IN_HEADERS "mlx/mlx\\.h|nlohmann/json\\.hpp|CLI/.*|hwy/.*|tbb/.*|toml\\+\\+/.*")

set(errors "")
set(checked 0)
foreach(folder IN LISTS FOLDERS)
  file(GLOB_RECURSE files RELATIVE ${ROOT} ${ROOT}/${folder}/*.h ${ROOT}/${folder}/*.cpp)
  foreach(file IN LISTS files)
    if(folder STREQUAL mflux AND NOT file MATCHES "^mflux/[^/]+$")
      string(REGEX MATCH "^mflux/[^/]+" owner "${file}")
      if(NOT owner IN_LIST FOLDERS)
        list(APPEND errors "${file}: no rule for the folder ${owner}")
      endif()
      continue()
    endif()
    math(EXPR checked "${checked} + 1")
    file(STRINGS ${ROOT}/${file} lines REGEX "^[ \t]*#[ \t]*include")
    foreach(line IN LISTS lines)
      string(REGEX REPLACE "^[^<\"]*[<\"]([^>\"]*)[>\"].*$" "\\1" header "${line}")
      # The standard library's headers have no suffix; POSIX's are in sys/ or in this list.
      if(line MATCHES "<([a-z_0-9]+|sys/[a-z]+\\.h|(fcntl|unistd|errno|dirent|stdlib|signal)\\.h)>")
        continue()
      endif()
      if(NOT header MATCHES "^(${MAY_${folder}})$")
        list(APPEND errors "${file} includes ${header} (${folder} may include ${MAY_${folder}})")
      elseif(file MATCHES "\\.h$" AND NOT file MATCHES "-inl\\.h$" AND header MATCHES "^(${NOT_IN_HEADERS})$")
        list(APPEND errors "${file} includes ${header}, which belongs into a source file")
      endif()
    endforeach()
  endforeach()
endforeach()

if(checked EQUAL 0)
  message(FATAL_ERROR "no source files under ${ROOT}")
endif()
if(errors)
  list(JOIN errors "\n  " text)
  message(FATAL_ERROR "Layering:\n  ${text}")
endif()
message(STATUS "Layering: ${checked} files")
