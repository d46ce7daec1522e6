# SPDX-License-Identifier: MIT
# Tests cmake/foreign_names.cmake: cmake -DROOT=<source folder> -DFOLDER=<scratch folder> -P tests/foreign_names.cmake
cmake_minimum_required(VERSION 3.24)

function(check what expected)
  execute_process(
    COMMAND ${CMAKE_COMMAND} "-DNAMES=mflux-save;mflux-generate" -DFOLDER=${FOLDER} -P ${ROOT}/cmake/foreign_names.cmake
    RESULT_VARIABLE status ERROR_VARIABLE message OUTPUT_QUIET)
  string(REGEX REPLACE "[ \n]+" " " message "${message}")
  if(expected STREQUAL "" AND status EQUAL 0)
    return()
  endif()
  if(expected STREQUAL "" OR status EQUAL 0 OR NOT message MATCHES "${expected}")
    message(FATAL_ERROR "${what}: status ${status}, expected '${expected}': ${message}")
  endif()
endfunction()

file(REMOVE_RECURSE ${FOLDER})
check("no folder" "")
file(MAKE_DIRECTORY ${FOLDER})
check("an empty folder" "")
file(CREATE_LINK mflux ${FOLDER}/mflux-save SYMBOLIC)
check("our own link" "")
file(WRITE ${FOLDER}/mflux "the program")
check("our own link to the program" "")
file(WRITE ${FOLDER}/mflux-generate "#!/usr/bin/python3")
check("a script" "/mflux-generate is there already and is not a link to this mflux")
file(REMOVE ${FOLDER}/mflux-generate)
file(CREATE_LINK ../venv/bin/mflux-generate ${FOLDER}/mflux-generate SYMBOLIC)
check("a link that leads nowhere" "/mflux-generate is there already")
file(REMOVE ${FOLDER}/mflux-save)
file(MAKE_DIRECTORY ${FOLDER}/mflux-save)
check("a folder" "/mflux-save is there already")
