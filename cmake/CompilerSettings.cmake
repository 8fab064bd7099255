# Warnings, sanitizers, and the tools that make builds faster where they are installed.
set(WAVEFIELD_SANITIZER "" CACHE STRING "asan, tsan or empty")
set_property(CACHE WAVEFIELD_SANITIZER PROPERTY STRINGS "" asan tsan)

add_library(wavefield_warnings INTERFACE)
target_compile_options(wavefield_warnings INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wpedantic;-Werror;-Wno-unknown-pragmas;-Wno-missing-field-initializers>)
if(CMAKE_CXX_COMPILER_ID MATCHES Clang)
  target_compile_options(wavefield_warnings INTERFACE -Wthread-safety)
endif()

if(WAVEFIELD_SANITIZER STREQUAL asan)
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
elseif(WAVEFIELD_SANITIZER STREQUAL tsan)
  add_compile_options(-fsanitize=thread -fno-omit-frame-pointer)
  add_link_options(-fsanitize=thread)
elseif(NOT WAVEFIELD_SANITIZER STREQUAL "")
  message(FATAL_ERROR "WAVEFIELD_SANITIZER is '${WAVEFIELD_SANITIZER}'; allowed: asan, tsan, or empty")
endif()

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  set(ccache_launcher ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${CCACHE_PROGRAM})
  set(CMAKE_C_COMPILER_LAUNCHER ${ccache_launcher})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${ccache_launcher})
endif()
find_program(MOLD_PROGRAM mold)
if(MOLD_PROGRAM)
  add_link_options(-fuse-ld=mold)
endif()
