#include "worker/trainer/cuda_module.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include "core/base/subprocess.h"

namespace wavefield {

absl::StatusOr<const CudaModule*> LoadCudaModuleFrom(const std::filesystem::path& file) {
  void* const library = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    return absl::FailedPreconditionError(fmt::format(
        "the CUDA module does not load: {}; the libraries of the CUDA toolkit and of NCCL that it "
        "was built with must be where the dynamic linker finds them (LD_LIBRARY_PATH)",
        ::dlerror()));
  }
  using Entry = const CudaModule* (*)(int version);
  const auto entry = reinterpret_cast<Entry>(::dlsym(library, kCudaModuleSymbol));
  const CudaModule* const module = entry == nullptr ? nullptr : entry(kCudaModuleVersion);
  if (module == nullptr) {
    return absl::FailedPreconditionError(
        fmt::format("{} is of another version than this program ({}): install both from one build",
                    file.string(), kCudaModuleVersion));
  }
  return module;
}

absl::StatusOr<const CudaModule*> LoadCudaModule() {
  static const CudaModule* loaded = nullptr;
  if (loaded != nullptr) return loaded;
  const std::filesystem::path programs = ProgramDirectory();
  const std::filesystem::path places[] = {programs.parent_path() / "lib" / kCudaModuleFile,
                                          programs / kCudaModuleFile};
  for (const std::filesystem::path& file : places) {
    std::error_code error;
    if (!std::filesystem::exists(file, error)) continue;
    auto module = LoadCudaModuleFrom(file);
    if (module.ok()) loaded = *module;
    return module;
  }
  return absl::NotFoundError(
      fmt::format("device cuda needs the CUDA module, which is neither {} nor {}: build with "
                  "-DWAVEFIELD_CUDA=ON and install it beside the programs",
                  places[0].string(), places[1].string()));
}

}  // namespace wavefield
