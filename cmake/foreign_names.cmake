# SPDX-License-Identifier: MIT
# Fails if one of NAMES in FOLDER is somebody else's, before anything is installed over it. Ours are links to mflux.

foreach(name IN LISTS NAMES)
  set(file "${FOLDER}/${name}")
  set(target "")
  if(IS_SYMLINK "${file}")
    file(READ_SYMLINK "${file}" target)
  elseif(NOT EXISTS "${file}")
    continue()
  endif()
  if(NOT target STREQUAL mflux)
    message(
      FATAL_ERROR
        "${file} is there already and is not a link to this mflux; Python's mflux has a program of this name. Nothing "
        "was installed. Take another --prefix, remove the file, or configure with -DMFLUX_INSTALL_NAMES=OFF: 'mflux "
        "save' and 'mflux generate' are the same commands.")
  endif()
endforeach()
