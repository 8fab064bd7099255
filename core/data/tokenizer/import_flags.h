#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>

#include "core/data/tokenizer/import.h"

namespace wavefield {

struct ImportFlags {
  ImportOptions options;
  std::filesystem::path output;
  bool json_progress = false;
};

// Adds the subcommand `import`, which fills `flags`; they must outlive `app`'s parsing.
CLI::App* AddImportCommand(CLI::App& app, ImportFlags& flags);

}  // namespace wavefield
