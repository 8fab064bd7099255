#pragma once

// Included before any header of Highway: which instruction sets the vector code is compiled for.
// Few, since every file is compiled once for each; the best one present is chosen at run time.
#define HWY_DISABLED_TARGETS \
  (HWY_AVX3_DL | HWY_SSSE3 | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)

#if defined(__SANITIZE_THREAD__)
#define HWY_COMPILE_ONLY_STATIC
#endif
