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

// What commands that make datasets have in common.
struct DatasetFlags {
  std::filesystem::path* output;
  std::string* name;
  int64_t* shard_tokens;
  bool* json_progress;
};
void AddDatasetOptions(CLI::App& command, const DatasetFlags& flags);

// Adds the subcommand `prepare`, which fills `flags`; they must outlive `app`'s parsing.
CLI::App* AddPrepareCommand(CLI::App& app, PrepareFlags& flags);

}  // namespace wavefield
