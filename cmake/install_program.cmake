# SPDX-License-Identifier: MIT
# What `cmake --install build` copies of the program: itself, manual pages, completions, the pages for people. Manual pages
# and completions are made at build time, by the program itself.

option(MFLUX_INSTALL_NAMES "Install the program's other names too (mflux-save, ...), as Python's mflux does" OFF)
set(WITHOUT_NAMES --without-names)
if(MFLUX_INSTALL_NAMES)
  set(WITHOUT_NAMES "")
endif()

set(MANUAL ${CMAKE_CURRENT_BINARY_DIR}/manual)
add_custom_command(
  OUTPUT ${MANUAL}/made
  COMMAND ${CMAKE_COMMAND} -E rm -rf ${MANUAL}/man1
  COMMAND mflux_cli manual ${MANUAL}/man1 ${WITHOUT_NAMES}
  COMMAND mflux_cli completion bash ${WITHOUT_NAMES} > ${MANUAL}/mflux.bash
  COMMAND mflux_cli completion zsh ${WITHOUT_NAMES} > ${MANUAL}/_mflux
  COMMAND mflux_cli completion fish ${WITHOUT_NAMES} > ${MANUAL}/mflux.fish
  COMMAND ${CMAKE_COMMAND} -E touch ${MANUAL}/made
  DEPENDS mflux_cli)
add_custom_target(mflux_manual ALL DEPENDS ${MANUAL}/made)

set(INSTALLED_NAMES "")
if(MFLUX_INSTALL_NAMES)
  set(INSTALLED_NAMES ${MFLUX_NAMES})
  install(CODE "set(NAMES \"${MFLUX_NAMES}\")
    set(FOLDER \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_BINDIR}\")")
  install(SCRIPT ${PROJECT_SOURCE_DIR}/cmake/foreign_names.cmake)
endif()
install(TARGETS mflux_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
foreach(name IN LISTS INSTALLED_NAMES)
  install(PROGRAMS ${CMAKE_CURRENT_BINARY_DIR}/${name} DESTINATION ${CMAKE_INSTALL_BINDIR})
endforeach()
install(DIRECTORY ${MANUAL}/man1 DESTINATION ${CMAKE_INSTALL_MANDIR})
# The pages with all that they link to, in the folders of the source, so that the links work; a test follows them.
set(DOCUMENTATION README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md bench/README.md examples/save.cpp examples/generate.cpp
                  examples/project/CMakeLists.txt examples/demo/README.md examples/demo/scenes.py)
foreach(file IN LISTS DOCUMENTATION)
  cmake_path(GET file PARENT_PATH folder)
  install(FILES ${file} DESTINATION ${CMAKE_INSTALL_DOCDIR}/${folder} COMPONENT documentation)
endforeach()
install(DIRECTORY docs DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT documentation
        FILES_MATCHING PATTERN "*.md" PATTERN "*.png")

# bash and fish look for a file named like the command; zsh reads which commands are meant.
set(BASH_COMPLETIONS ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
set(FISH_COMPLETIONS ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
install(FILES ${MANUAL}/_mflux DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
foreach(name IN ITEMS mflux LISTS INSTALLED_NAMES)
  install(FILES ${MANUAL}/mflux.bash DESTINATION ${BASH_COMPLETIONS} RENAME ${name})
  install(FILES ${MANUAL}/mflux.fish DESTINATION ${FISH_COMPLETIONS} RENAME ${name}.fish)
endforeach()

set_target_properties(mflux_cli PROPERTIES INSTALL_RPATH_USE_LINK_PATH ON)
if(MLX_FROM_WHEEL)
  set(BESIDE "$ORIGIN")
  if(APPLE)
    set(BESIDE "@loader_path")
  endif()
  set_target_properties(
    mflux_cli PROPERTIES INSTALL_RPATH "${BESIDE}/../${INSTALLED_MLX}/lib" INSTALL_RPATH_USE_LINK_PATH OFF)
endif()
