#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/data/manifest.h"
#include "core/data/mapped_file.h"

namespace wavefield {

// A part of a corpus' text.
struct TextRange {
  uint64_t offset = 0;
  uint64_t length = 0;
};

// All text of the inputs as valid UTF-8, in a file that is mapped: memory holds the documents'
// places only.
struct Corpus {
  MappedFile text;
  std::vector<TextRange> documents;  // in order, not empty
  std::vector<SourceManifest> sources;
  std::vector<std::string> ignored;  // files that were found and not read
};

struct CorpusOptions {
  std::vector<std::filesystem::path> inputs;
  std::string field = "text";  // of a line of .jsonl, that holds the document
  std::string separator;       // between the documents of a text file; empty: the file is one
};

// Reads everything that `options.inputs` name into the file `spool`. `progress` is called now and
// then with the bytes read and all bytes of the files.
//
// INVALID_ARGUMENT, with file and place: input that looks binary, .jsonl that is not, or inputs
// without any text. Sequences that are not UTF-8 are replaced by U+FFFD and reported in `sources`.
absl::StatusOr<Corpus> ReadCorpus(const CorpusOptions& options, const std::filesystem::path& spool,
                                  const std::function<void(int64_t done, int64_t total)>& progress);

}  // namespace wavefield
