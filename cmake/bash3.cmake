# SPDX-License-Identifier: MIT
# Fails where a script needs what a Mac does not have, whose bash is 3.2 and whose tools are BSD's:
# cmake -DROOT=<folder> -P cmake/bash3.cmake. Scripts for Debian alone, *_check.sh, apt_install.sh and
# bare_machine.sh, may.
cmake_minimum_required(VERSION 3.24)

set(BASH_4 "mapfile|readarray|coproc|(declare|local|typeset) -[a-z]*[An]|\\[\\[ -v |\\|&|&>>|\\$\\{[a-z_]+(,|\\^|@[A-Z])")
set(GNU_TOOLS "nproc\\)|sed -i|stat -c|readlink -f|realpath |grep -[a-z]*P|xargs -[dr]|date [^|]*%N|cp -[a-z]*a|[ (]timeout [0-9]")

file(GLOB_RECURSE scripts RELATIVE ${ROOT} ${ROOT}/scripts/*.sh ${ROOT}/tests/*.sh)
list(FILTER scripts EXCLUDE REGEX "(_check|apt_install|bare_machine)\\.sh$|tests/data/")
set(errors "")
foreach(script IN LISTS scripts)
  file(STRINGS ${ROOT}/${script} lines REGEX "${BASH_4}|${GNU_TOOLS}")
  foreach(line IN LISTS lines)
    list(APPEND errors "${script}: ${line}")
  endforeach()
  file(READ ${ROOT}/${script} text)
  if(text MATCHES "sha256sum" AND NOT text MATCHES "shasum")
    list(APPEND errors "${script}: sha256sum, and no shasum for a Mac")
  endif()
endforeach()

if(NOT scripts)
  message(FATAL_ERROR "no scripts under ${ROOT}")
endif()
if(errors)
  list(JOIN errors "\n  " text)
  message(FATAL_ERROR "Not on a Mac:\n  ${text}")
endif()
list(LENGTH scripts count)
message(STATUS "Scripts: ${count}")
