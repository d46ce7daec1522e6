# SPDX-License-Identifier: MIT
# The program `mflux` and its other names.

find_package(CLI11 REQUIRED)
pkg_check_modules(TOMLPLUSPLUS REQUIRED IMPORTED_TARGET tomlplusplus)

file(GLOB MFLUX_CLI CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/cli/*.cpp)
if(NOT MFLUX_GENERATE)
  list(FILTER MFLUX_CLI EXCLUDE REGEX "/cli/(generate|recipe)[a-z_]*\\.cpp$")
endif()
add_executable(mflux_cli ${MFLUX_CLI})
set_target_properties(mflux_cli PROPERTIES OUTPUT_NAME mflux UNITY_BUILD ${MFLUX_UNITY})
target_precompile_headers(mflux_cli PRIVATE ${PARSED_ONCE} <CLI/CLI.hpp> <nlohmann/json.hpp>)
target_compile_options(mflux_cli PRIVATE $<$<CONFIG:Release>:-O1>)  # nothing in it is hot
target_link_libraries(
  mflux_cli PRIVATE mflux CLI11::CLI11 nlohmann_json::nlohmann_json PkgConfig::TOMLPLUSPLUS mflux_warnings)
if(MFLUX_GENERATE)
  target_compile_definitions(mflux_cli PRIVATE MFLUX_GENERATE)
  target_link_libraries(mflux_cli PRIVATE mflux_generate)
endif()
# Called under one of these names, the program is that subcommand.
set(MFLUX_NAMES mflux-save mflux-save-qwen mflux-generate mflux-generate-qwen)
foreach(name IN LISTS MFLUX_NAMES)
  add_custom_command(
    TARGET mflux_cli POST_BUILD
    COMMAND ${CMAKE_COMMAND} -E create_symlink mflux $<TARGET_FILE_DIR:mflux_cli>/${name})
endforeach()
