#pragma once

#include <string_view>

namespace wavefield {

inline constexpr char kPyTorchModuleFile[] = "wavefield_model.py";

// The text of core/checkpoint/export/wavefield_model.py as of the build.
std::string_view PyTorchModule();

}  // namespace wavefield
