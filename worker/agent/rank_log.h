#pragma once

#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/file.h"

namespace wavefield {

struct RankLogOptions {
  int64_t max_bytes = 10 << 20;  // of one file, overstepped by at most one line
  int keep = 3;                  // older files, FILE.1 (newest) … FILE.keep
  int tail_lines = 20;
};

// What a rank printed: a file that is rotated, and its last lines at hand. A disk that is full or
// broken costs log lines, never the rank. Not thread-safe.
class RankLog {
 public:
  // Gets every line: valid UTF-8, at most 4 KiB.
  using OnLine = std::function<void(std::string line)>;

  // Appends to `path`; makes its folder. `on_line` may be empty.
  RankLog(std::filesystem::path path, const RankLogOptions& options, OnLine on_line = {});

  void Write(std::string_view bytes);

  // Nothing more comes: a line that lacks its end counts as one.
  void Finish();

  // Removes the files.
  void Discard();

  // Oldest first; valid UTF-8, long lines cut.
  std::vector<std::string> LastLines() const;

 private:
  std::filesystem::path Numbered(int i) const;
  void Open();
  void Rotate();
  void WriteToFile(std::string_view bytes);
  void Remember(std::string_view bytes);
  void EndLine();

  std::filesystem::path path_;
  RankLogOptions options_;
  OnLine on_line_;
  FileDescriptor fd_;
  int64_t size_ = 0;
  bool complained_ = false;
  std::deque<std::string> lines_;
  std::string partial_;
};

}  // namespace wavefield
