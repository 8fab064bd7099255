#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "wavefield/v1/spec.pb.h"

namespace wavefield {

// A specification on the command line: [SPEC.json|PRESET] [--preset P] [--set path=value]…, later
// ones over earlier ones.
struct SpecArguments {
  std::string file;  // "-": standard input; the name of a preset where there is no such file
  std::string preset;
  std::vector<std::string> assignments;
};
void AddSpecFlags(CLI::App& command, SpecArguments& arguments);

absl::StatusOr<v1::JobSpec> BuildSpec(const SpecArguments& arguments);

}  // namespace wavefield
