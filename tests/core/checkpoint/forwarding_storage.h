#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/checkpoint/storage.h"

namespace wavefield {

// Passes everything on: tests replace what they want to be different.
class ForwardingStorage : public Storage {
 public:
  explicit ForwardingStorage(Storage& storage) : storage_(storage) {}

  absl::StatusOr<std::unique_ptr<StorageWriter>> Create(const std::string& path) override {
    return storage_.Create(path);
  }
  absl::Status WriteFileAtomically(const std::string& path, std::string_view contents) override {
    return storage_.WriteFileAtomically(path, contents);
  }
  absl::StatusOr<std::string> Read(const std::string& path, uint64_t limit) override {
    return storage_.Read(path, limit);
  }
  absl::StatusOr<uint64_t> FileSize(const std::string& path) override {
    return storage_.FileSize(path);
  }
  absl::StatusOr<std::vector<std::string>> List(const std::string& directory) override {
    return storage_.List(directory);
  }
  absl::Status Delete(const std::string& path) override { return storage_.Delete(path); }
  absl::StatusOr<uint64_t> FreeBytes() override { return storage_.FreeBytes(); }
  absl::StatusOr<std::filesystem::path> LocalPath(const std::string& path) override {
    return storage_.LocalPath(path);
  }

 private:
  Storage& storage_;
};

}  // namespace wavefield
