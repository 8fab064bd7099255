# The CUDA module: built when WAVEFIELD_CUDA is ON, or AUTO and nvcc is there.
set(WAVEFIELD_CUDA AUTO CACHE STRING "Build the CUDA module: AUTO (if nvcc is found), ON or OFF")
set_property(CACHE WAVEFIELD_CUDA PROPERTY STRINGS AUTO ON OFF)
set(WAVEFIELD_CUDA_ARCHITECTURES "80-real;90-real;100" CACHE STRING
    "Architectures of the CUDA module; the last one is also kept as PTX")

set(WAVEFIELD_BUILD_CUDA OFF)
if(NOT WAVEFIELD_CUDA STREQUAL OFF)
  find_program(CMAKE_CUDA_COMPILER nvcc
    HINTS ENV CUDA_HOME ${CMAKE_SOURCE_DIR}/build/cuda /usr/local/cuda PATH_SUFFIXES bin)
  if(CMAKE_CUDA_COMPILER)
    set(CMAKE_CUDA_ARCHITECTURES ${WAVEFIELD_CUDA_ARCHITECTURES})
    enable_language(CUDA)
    # CMake 3.25 does not know that nvcc speaks C++20.
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
    set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
    set(CMAKE_CUDA_STANDARD 20)
    # What the host compiler searches by itself must not come earlier: its headers include_next.
    list(APPEND CMAKE_CUDA_IMPLICIT_INCLUDE_DIRECTORIES ${CMAKE_CXX_IMPLICIT_INCLUDE_DIRECTORIES})
    find_package(CUDAToolkit REQUIRED)
    find_library(NCCL_LIBRARY nccl HINTS ${CUDAToolkit_LIBRARY_DIR} REQUIRED)
    set(WAVEFIELD_BUILD_CUDA ON)
    if(CCACHE_PROGRAM)
      set(CMAKE_CUDA_COMPILER_LAUNCHER ${ccache_launcher})
    endif()
  elseif(WAVEFIELD_CUDA STREQUAL ON)
    message(FATAL_ERROR "WAVEFIELD_CUDA is ON but nvcc was not found; "
                        "deploy/install-cuda.sh installs it, or set CUDA_HOME or WAVEFIELD_CUDA=OFF")
  endif()
endif()
message(STATUS "CUDA module: ${WAVEFIELD_BUILD_CUDA}")
