# SPDX-License-Identifier: MIT
# Fails where text of unknown origin is read by what does not bound its depth, size or time:
# cmake -DROOT=<source folder> -P cmake/reading.cmake
#
# JSON is read by mflux/base/json.h, or piece by piece (sax_parse) by a reader that keeps its own account. TOML is read
# after check_toml(). Names are matched by hand: std::regex recurses, and the C library's conversions know no error.

cmake_minimum_required(VERSION 3.24)

set(RULES
  "[jJ]son::parse *\\(|[jJ]son::accept *\\(" "mflux/base/json.cpp"         "parses JSON without limits: use mflux/base/json.h"
  "toml::parse *\\("                        "cli/job_file.cpp"            "parses TOML that check_toml() has not seen"
  "std::regex|#include <regex>"             ""                            "uses std::regex, which recurses"
  "std::sto(i|l|ll|ul|ull|f|d|ld) *\\(|[^a-z_]ato(i|l|ll|f) *\\(" ""      "converts text without telling errors: use mflux/base/number.h")

file(GLOB_RECURSE files RELATIVE ${ROOT} ${ROOT}/mflux/*.h ${ROOT}/mflux/*.cpp ${ROOT}/cli/*.h ${ROOT}/cli/*.cpp)
set(errors "")
list(LENGTH RULES count)
math(EXPR last "${count} - 1")
foreach(file IN LISTS files)
  foreach(rule RANGE 0 ${last} 3)
    math(EXPR where "${rule} + 1")
    math(EXPR why "${rule} + 2")
    list(GET RULES ${rule} pattern)
    list(GET RULES ${where} allowed)
    list(GET RULES ${why} text)
    file(STRINGS ${ROOT}/${file} lines REGEX "${pattern}")
    list(FILTER lines EXCLUDE REGEX "^ *//")
    if(lines AND NOT file STREQUAL "${allowed}")
      list(GET lines 0 line)
      string(STRIP "${line}" line)
      list(APPEND errors "${file}: '${line}' ${text}")
    endif()
  endforeach()
endforeach()

if(NOT files)
  message(FATAL_ERROR "no source files under ${ROOT}")
endif()
if(errors)
  list(JOIN errors "\n  " text)
  message(FATAL_ERROR "Reading:\n  ${text}")
endif()
