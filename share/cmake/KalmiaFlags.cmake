# kalmia_flags: how every translation unit of this project is compiled, and nobody else's.
add_library(kalmia_flags INTERFACE)
target_compile_definitions(kalmia_flags INTERFACE _POSIX_C_SOURCE=200809L)
target_compile_options(kalmia_flags INTERFACE
  -Wall -Wextra -Wpedantic
  -ffp-contract=off) # a fused multiply-add is a different number: contraction is left to nobody's choice
if(KALMIA_SANITIZE)
  # -O1: readable traces, and PETSc's flags ask for _FORTIFY_SOURCE, which needs some optimization.
  target_compile_options(kalmia_flags INTERFACE -O1 -g)
  add_compile_options(-fsanitize=address,undefined -fno-omit-frame-pointer -fno-sanitize-recover=undefined)
  add_link_options(-fsanitize=address,undefined)
else()
  target_compile_options(kalmia_flags INTERFACE "$<$<CONFIG:RelWithDebInfo>:-O3>" "$<$<CONFIG:Debug>:-Og>")
endif()

# An installed program finds libkalmia beside itself, and a PETSc or HDF5 outside the system's folders.
file(RELATIVE_PATH kalmia_bin_to_lib "/${CMAKE_INSTALL_BINDIR}" "/${CMAKE_INSTALL_LIBDIR}")
if(NOT IS_ABSOLUTE "${CMAKE_INSTALL_BINDIR}" AND NOT IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}")
  set(CMAKE_INSTALL_RPATH "$ORIGIN/${kalmia_bin_to_lib}")
endif()
set(CMAKE_INSTALL_RPATH_USE_LINK_PATH ON)
