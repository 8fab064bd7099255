#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace wavefield {

// The JSON object that the trainer program prints when it is run with these arguments. Takes at
// most a minute; CANCELLED soon after `cancelled` became true, UNAVAILABLE when it does not answer.
absl::StatusOr<nlohmann::json> AskTrainer(const std::filesystem::path& trainer_program,
                                          const std::vector<std::string>& arguments,
                                          const std::vector<std::string>& environment,
                                          const std::function<bool()>& cancelled);

}  // namespace wavefield
