#pragma once

#include <filesystem>

#include "absl/status/statusor.h"
#include "core/backend/cuda/module/module.h"

namespace wavefield {

// The CUDA module, loaded when first asked for and kept until the process ends. It is looked for in
// the folder `lib` beside the running program's and in the program's own, and nowhere else.
// NOT_FOUND: it was not built or not installed; FAILED_PRECONDITION: it is there and does not load,
// or is of another version. Each says what to do. Use from one thread.
absl::StatusOr<const CudaModule*> LoadCudaModule();

// The same, from this file.
absl::StatusOr<const CudaModule*> LoadCudaModuleFrom(const std::filesystem::path& file);

}  // namespace wavefield
