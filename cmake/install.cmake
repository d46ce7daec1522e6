# SPDX-License-Identifier: MIT
# What `cmake --install build` puts where: the program and its other names, manual pages, completions, docs/, and on
# Linux the MLX of build/mlx-venv. Manual pages and completions are made at build time, by the program itself.

include(GNUInstallDirs)

set(MANUAL ${CMAKE_CURRENT_BINARY_DIR}/manual)
add_custom_command(
  OUTPUT ${MANUAL}/made
  COMMAND mflux_cli manual ${MANUAL}/man1
  COMMAND mflux_cli completion bash > ${MANUAL}/mflux.bash
  COMMAND mflux_cli completion zsh > ${MANUAL}/_mflux
  COMMAND mflux_cli completion fish > ${MANUAL}/mflux.fish
  COMMAND ${CMAKE_COMMAND} -E touch ${MANUAL}/made
  DEPENDS mflux_cli)
add_custom_target(mflux_manual ALL DEPENDS ${MANUAL}/made)

install(TARGETS mflux_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
foreach(name IN LISTS MFLUX_NAMES)
  install(PROGRAMS ${CMAKE_CURRENT_BINARY_DIR}/${name} DESTINATION ${CMAKE_INSTALL_BINDIR})
endforeach()
install(DIRECTORY ${MANUAL}/man1 DESTINATION ${CMAKE_INSTALL_MANDIR})
install(DIRECTORY docs/ DESTINATION ${CMAKE_INSTALL_DOCDIR} FILES_MATCHING PATTERN "*.md")

# bash and fish look for a file named like the command; zsh reads which commands are meant.
set(BASH_COMPLETIONS ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
set(FISH_COMPLETIONS ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
install(FILES ${MANUAL}/_mflux DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
foreach(name IN ITEMS mflux LISTS MFLUX_NAMES)
  install(FILES ${MANUAL}/mflux.bash DESTINATION ${BASH_COMPLETIONS} RENAME ${name})
  install(FILES ${MANUAL}/mflux.fish DESTINATION ${FISH_COMPLETIONS} RENAME ${name}.fish)
endforeach()

if(MFLUX_GENERATE AND MLX_DIR MATCHES "site-packages")
  cmake_path(SET SITE_PACKAGES NORMALIZE ${MLX_DIR}/../../../..)
  set(LIBRARIES ${CMAKE_INSTALL_LIBDIR}/mflux)
  install(DIRECTORY ${SITE_PACKAGES}/mlx/lib DESTINATION ${LIBRARIES}/mlx)
  install(DIRECTORY ${SITE_PACKAGES}/mlx_cpu.libs DESTINATION ${LIBRARIES})
  set_target_properties(mflux_cli PROPERTIES INSTALL_RPATH "$ORIGIN/../${LIBRARIES}/mlx/lib")
else()
  set_target_properties(mflux_cli PROPERTIES INSTALL_RPATH_USE_LINK_PATH ON)
endif()
