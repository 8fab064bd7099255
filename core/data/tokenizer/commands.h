#pragma once

#include <filesystem>
#include <string>

#include "core/data/tokenizer/dataset_inspection.h"
#include "core/data/tokenizer/import.h"
#include "core/data/tokenizer/prepare.h"

namespace wavefield {

// The commands of wavefield-tokenizer. Each prints its result to stdout and returns the exit code:
// 0, or 1 with the reason on stderr.

// With `json_progress`, stdout gets a JSON object per line: {"stage": "read" | "train" | "encode",
// "done", "total"} in bytes, at the end one with "stage": "done" and the manifest's main numbers,
// or one with "stage": "error" and a "message".
int RunPrepare(const PrepareOptions& options, const std::filesystem::path& output,
               bool json_progress);
// The same of token files; stages "check" and "write", in tokens.
int RunImport(const ImportOptions& options, const std::filesystem::path& output,
              bool json_progress);

// Text to a JSON list of ids.
int RunEncode(const std::filesystem::path& dataset, const std::string& text);
// Ids, separated by spaces, commas or line breaks, with or without brackets, to text.
int RunDecode(const std::filesystem::path& dataset, const std::string& ids);
// Counts, and the text of the first `sample_tokens` of each split.
int RunShow(const std::filesystem::path& dataset, int sample_tokens);
// The dataset's inspection as one line of JSON (dataset_inspection.h).
int RunInspect(const std::filesystem::path& dataset, const InspectionOptions& options);
// Checks every byte of a dataset.
int RunVerify(const std::filesystem::path& dataset);

// All of stdin.
std::string ReadStdin();

}  // namespace wavefield
