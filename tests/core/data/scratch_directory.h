#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <string_view>

namespace wavefield {

// A folder of a test's own, removed at its end.
class ScratchDirectory {
 public:
  ScratchDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "wavefield-data-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~ScratchDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }

  // Writes a file below the folder, with the folders above it.
  std::filesystem::path Write(const std::filesystem::path& name, std::string_view contents) const {
    const auto path = path_ / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream file(path, std::ios::binary);
    file.write(contents.data(), static_cast<std::streamsize>(contents.size()));
    return path;
  }

 private:
  std::filesystem::path path_;
};

inline std::string Contents(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// A generator with a fresh seed, which is printed where the test fails.
class SeededRandom {
 public:
  SeededRandom()
      : seed_(std::random_device{}()),
        trace_(__FILE__, __LINE__, "seed " + std::to_string(seed_)),
        engine_(seed_) {}
  // Uniform in [0, bound).
  uint64_t Below(uint64_t bound) {
    return std::uniform_int_distribution<uint64_t>(0, bound - 1)(engine_);
  }

 private:
  uint32_t seed_;
  testing::ScopedTrace trace_;
  std::mt19937_64 engine_;
};

}  // namespace wavefield
