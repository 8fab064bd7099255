#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>

#include "core/data/tokenizer/prepare.h"

namespace wavefield {

struct PrepareFlags {
  PrepareOptions options;
  std::filesystem::path output;
  bool json_progress = false;
};

// Adds the subcommand `prepare`, which fills `flags`; they must outlive `app`'s parsing.
CLI::App* AddPrepareCommand(CLI::App& app, PrepareFlags& flags);

}  // namespace wavefield
