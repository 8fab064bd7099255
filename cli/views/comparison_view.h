#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/comparison.h"

namespace wavefield {

// What `wavefield compare` prints: the results (a column for each job, or a row where there are
// many), the settings that differ, and what stands against the comparison.
std::string FormatComparison(const std::vector<ComparedJob>& jobs, const LossTarget& target);
nlohmann::json ComparisonJson(const std::vector<ComparedJob>& jobs, const LossTarget& target);

}  // namespace wavefield
