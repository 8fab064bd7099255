#pragma once

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>
#include <vector>

#include "cli/views/view_style.h"

namespace wavefield {

// The flags by which people choose how things are printed: --output, its short form --json,
// --exact.
struct OutputFlags {
  std::string form = "table";
  bool json_flag = false;
  bool exact = false;

  bool json() const { return json_flag || form == "json"; }
  bool names() const { return !json() && form == "names"; }
  // For text on `stream`.
  ViewStyle Style(std::FILE* stream = stdout) const;
};

// `message`: what JSON shows, as in "a ListJobsResponse".
void AddOutputFlags(CLI::App& command, OutputFlags& flags, const std::string& message);
// The same, and --output names: ids alone, one a line.
void AddListOutputFlags(CLI::App& command, OutputFlags& flags, const std::string& message);

}  // namespace wavefield
