#pragma once

#include <memory>
#include <string>

#include "core/backend/backend.h"

namespace wavefield::testing {

// A parameter of test suites that run on several backends.
struct BackendMaker {
  const char* name;
  std::unique_ptr<Backend> (*make)();
};

inline constexpr BackendMaker kCpu1 = {"cpu1", [] { return MakeCpuBackend(1); }};
inline constexpr BackendMaker kCpu2 = {"cpu2", [] { return MakeCpuBackend(2); }};
inline constexpr BackendMaker kCpu3 = {"cpu3", [] { return MakeCpuBackend(3); }};
inline constexpr BackendMaker kReference = {"reference", [] { return MakeReferenceBackend(); }};

inline const auto kBackendName = [](const auto& info) { return std::string(info.param.name); };

}  // namespace wavefield::testing
