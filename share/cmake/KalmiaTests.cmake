# Tests. tests/NOUN/test_TOPIC.c becomes the executable tests/test_NOUN_TOPIC and one case NOUN_TOPIC_npK for
# each K of its first line, "ranks: 1 2 3" in a comment. tests/programs/test_TOPIC.sh becomes the case
# programs_TOPIC; a line "# labels: ..." among its first five gives it labels.
# Cases with the label "sanitize" are those of a sanitized run: few ranks, nothing long.
pkg_check_modules(CMOCKA QUIET IMPORTED_TARGET cmocka>=1.1.5)
if(NOT CMOCKA_FOUND AND KALMIA_TESTS STREQUAL "AUTO")
  message(STATUS "Tests are left out: pkg-config finds no cmocka 1.1.5 or later (Debian: libcmocka-dev)")
  return()
elseif(NOT CMOCKA_FOUND)
  message(FATAL_ERROR "The tests need cmocka 1.1.5 or later, which pkg-config does not find. Install it (Debian: libcmocka-dev) or build without them: -DKALMIA_TESTS=OFF")
endif()
find_program(KALMIA_BASH bash REQUIRED)

# More ranks than cores, several launches at once, perhaps as root; one BLAS thread a rank. Most launches are short: no time goes to
# network components, nor to mpiexec's second of grace for ranks that end after one that failed, nor to a daemon for a program without mpiexec.
set(kalmia_test_environment
  OMPI_MCA_pml=ob1 OMPI_MCA_btl=^openib,ofi,usnic,uct OMPI_MCA_odls_base_sigkill_timeout=0 OMPI_MCA_ess_singleton_isolated=1
  OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_mpi_yield_when_idle=1
  OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 BLIS_NUM_THREADS=1 MKL_NUM_THREADS=1)
if(KALMIA_SANITIZE)
  set(folder "${PROJECT_SOURCE_DIR}/tests/sanitizers")
  list(APPEND kalmia_test_environment
    "ASAN_OPTIONS=detect_leaks=1:fast_unwind_on_malloc=0:detect_stack_use_after_return=1:strict_string_checks=1"
    "LSAN_OPTIONS=suppressions=${folder}/lsan.supp:print_suppressions=0"
    "UBSAN_OPTIONS=print_stacktrace=1")
endif()

file(GLOB support CONFIGURE_DEPENDS tests/support/*.c)
add_library(kalmia_test_support STATIC ${support})
target_include_directories(kalmia_test_support PUBLIC tests/support src)
target_include_directories(kalmia_test_support SYSTEM PUBLIC "${RANDOM123_INCLUDE_DIR}" "${XXHASH_INCLUDE_DIR}")
# A test may look at a file with HDF5, zlib or xxHash itself, and check a kernel against BLAS.
find_library(XXHASH_LIBRARY xxhash)
target_link_libraries(kalmia_test_support PUBLIC kalmia_library kalmia_flags PkgConfig::CMOCKA ${kalmia_private_libraries})
if(XXHASH_LIBRARY)
  target_link_libraries(kalmia_test_support PUBLIC "${XXHASH_LIBRARY}")
endif()

file(GLOB tests CONFIGURE_DEPENDS tests/*/test_*.c)
foreach(source IN LISTS tests)
  get_filename_component(topic "${source}" NAME_WE)
  get_filename_component(noun "${source}" DIRECTORY)
  get_filename_component(noun "${noun}" NAME)
  string(REGEX REPLACE "^test_" "" topic "${topic}")
  set(name ${noun}_${topic})
  file(STRINGS "${source}" line LIMIT_COUNT 1)
  if(NOT line MATCHES "ranks:(( +[1-9][0-9]*)+)")
    message(FATAL_ERROR "${source}: the first line is to name the rank counts, as in /* ranks: 1 2 3 */")
  endif()
  string(REGEX MATCHALL "[0-9]+" ranks "${CMAKE_MATCH_1}")
  list(GET ranks 0 first)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${source}")

  add_executable(test_${name} "${source}")
  target_link_libraries(test_${name} PRIVATE kalmia_test_support)
  set_target_properties(test_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
  foreach(np IN LISTS ranks)
    set(labels unit ${noun})
    if(np LESS 3 OR np EQUAL first)
      list(APPEND labels sanitize)
    endif()
    add_test(NAME ${name}_np${np} COMMAND ${MPIEXEC_EXECUTABLE} ${MPIEXEC_NUMPROC_FLAG} ${np} ${MPIEXEC_PREFLAGS} $<TARGET_FILE:test_${name}> ${MPIEXEC_POSTFLAGS})
    set_tests_properties(${name}_np${np} PROPERTIES PROCESSORS ${np} TIMEOUT 300 LABELS "${labels}"
      ENVIRONMENT "${kalmia_test_environment};KALMIA_SOURCE=${PROJECT_SOURCE_DIR}")
  endforeach()
endforeach()

# The examples that are compiled, in BUILD/examples: each stands for itself, and finds this tree's library here.
foreach(example IN ITEMS shell heat)
  add_subdirectory("${PROJECT_SOURCE_DIR}/share/examples/${example}" "${PROJECT_BINARY_DIR}/examples/${example}")
endforeach()

file(GLOB scripts CONFIGURE_DEPENDS tests/programs/test_*.sh)
foreach(script IN LISTS scripts)
  get_filename_component(topic "${script}" NAME_WE)
  string(REGEX REPLACE "^test_" "" topic "${topic}")
  set(labels program)
  file(STRINGS "${script}" lines LIMIT_COUNT 5)
  if("${lines}" MATCHES "# labels:([a-z ]+)")
    string(REGEX MATCHALL "[a-z]+" more "${CMAKE_MATCH_1}")
    list(APPEND labels ${more})
  endif()
  if(NOT "long" IN_LIST labels AND NOT "install" IN_LIST labels)
    list(APPEND labels sanitize)
  endif()
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${script}")
  add_test(NAME programs_${topic} COMMAND "${KALMIA_BASH}" "${script}")
  set_tests_properties(programs_${topic} PROPERTIES PROCESSORS 2 TIMEOUT 600 LABELS "${labels}" SKIP_RETURN_CODE 77
    ENVIRONMENT "${kalmia_test_environment};KALMIA_BIN=${PROJECT_BINARY_DIR};KALMIA_BUILD=${PROJECT_BINARY_DIR};KALMIA_SOURCE=${PROJECT_SOURCE_DIR};MPIEXEC=${MPIEXEC_EXECUTABLE}")
endforeach()
