# SPDX-License-Identifier: MIT
# Fails where a family of models is known by its name: cmake -DROOT=<source folder> -P cmake/family_names.cmake
#
# What a family needs is a table in its own folder, which the registry lists. A file that compares names has to be found
# and changed for every new family. docs/extending.md shows how one is added.

cmake_minimum_required(VERSION 3.24)

set(NAMES "flux|qwen|qwen-edit")
# Its folders; the registry; and the commands that carry a family in their name.
set(MAY "^(mflux/(models|pipelines)/(flux|qwen)/.*|mflux/models/registry\\.cpp|cli/program\\.h)$")

file(GLOB_RECURSE files RELATIVE ${ROOT} ${ROOT}/mflux/*.h ${ROOT}/mflux/*.cpp ${ROOT}/cli/*.h ${ROOT}/cli/*.cpp)
if(NOT files)
  message(FATAL_ERROR "no source files under ${ROOT}")
endif()
set(errors "")
foreach(file IN LISTS files)
  if(file MATCHES "${MAY}")
    continue()
  endif()
  file(STRINGS ${ROOT}/${file} lines REGEX "\"(${NAMES})\"")
  foreach(line IN LISTS lines)
    string(REGEX REPLACE "//.*$" "" code "${line}")
    if(code MATCHES "\"(${NAMES})\"")
      string(STRIP "${code}" code)
      list(APPEND errors "${file}: ${code}")
    endif()
  endforeach()
endforeach()
if(errors)
  list(JOIN errors "\n  " text)
  message(FATAL_ERROR "A family by its name, which belongs into a table of the family:\n  ${text}")
endif()
list(LENGTH files count)
message(STATUS "Family names: ${count} files")
