# wavefield_library(NAME SOURCES a.cc … [DEPENDS target …])   a static library; headers are included as "core/base/check.h"
function(wavefield_library name)
  cmake_parse_arguments(arg "" "" "SOURCES;DEPENDS" ${ARGN})
  add_library(${name} STATIC ${arg_SOURCES})
  target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR})
  target_link_libraries(${name} PUBLIC ${arg_DEPENDS} PRIVATE wavefield_warnings)
endfunction()

# wavefield_program(NAME SOURCES main.cc … [DEPENDS target …])   an installed program in bin/; the target
# `programs` builds all of them
function(wavefield_program name)
  cmake_parse_arguments(arg "" "" "SOURCES;DEPENDS" ${ARGN})
  add_executable(${name} ${arg_SOURCES})
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE ${arg_DEPENDS} wavefield_warnings)
  if(NOT TARGET programs)
    add_custom_target(programs)
  endif()
  add_dependencies(programs ${name})
  install(TARGETS ${name} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endfunction()

# wavefield_test(NAME SOURCES x_test.cc … [DEPENDS target …] [LABELS quick …] [TIMEOUT seconds] [SERIAL])
# One GoogleTest program = one CTest test. Tests run side by side: threads of OpenMP that wait by spinning
# would take the cores from each other. For each label there is a target tests_LABEL that builds its tests.
# Labels in use: core (also run under ASan), worker, coordinator, cli, integration, faults, oracle, monitoring; threads (also run
# under TSan with --full); quick (seconds each), slow (only with tests/run.sh --full).
function(wavefield_test name)
  cmake_parse_arguments(arg "SERIAL" "TIMEOUT" "SOURCES;DEPENDS;LABELS" ${ARGN})
  add_executable(${name} ${arg_SOURCES})
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE ${arg_DEPENDS} GTest::gmock GTest::gtest_main wavefield_warnings)
  add_test(NAME ${name} COMMAND ${name})
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 60)
  endif()
  set_tests_properties(${name} PROPERTIES TIMEOUT ${arg_TIMEOUT} LABELS "${arg_LABELS}"
                       ENVIRONMENT "WAVEFIELD_BIN_DIR=${CMAKE_RUNTIME_OUTPUT_DIRECTORY};OMP_WAIT_POLICY=passive")
  foreach(label IN LISTS arg_LABELS)
    if(NOT TARGET tests_${label})
      add_custom_target(tests_${label})
    endif()
    add_dependencies(tests_${label} ${name})
  endforeach()
  if(arg_SERIAL)
    set_tests_properties(${name} PROPERTIES RUN_SERIAL ON)
  endif()
endfunction()

# wavefield_python_test(NAME FILE [LABELS …] [TIMEOUT seconds] [PYTHON program])   a test against the built
# programs, run with the Python of build/venv (tests/run.sh makes it) or another; CTest runs no other test beside it
function(wavefield_python_test name file)
  cmake_parse_arguments(arg "" "TIMEOUT;PYTHON" "LABELS" ${ARGN})
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 600)
  endif()
  if(NOT arg_PYTHON)
    set(arg_PYTHON ${CMAKE_SOURCE_DIR}/build/venv/bin/python)
  endif()
  add_test(NAME ${name} COMMAND ${arg_PYTHON} -B ${CMAKE_CURRENT_SOURCE_DIR}/${file})
  set_tests_properties(${name} PROPERTIES TIMEOUT ${arg_TIMEOUT} LABELS "${arg_LABELS}" RUN_SERIAL ON
                       ENVIRONMENT "WAVEFIELD_BIN_DIR=${CMAKE_RUNTIME_OUTPUT_DIRECTORY};OMP_WAIT_POLICY=passive")
endfunction()
