#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>

namespace wavefield {

// A directory that lives as long as this object.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    char name[] = "/tmp/wavefield-test-XXXXXX";
    EXPECT_NE(::mkdtemp(name), nullptr);
    path_ = name;
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace wavefield
