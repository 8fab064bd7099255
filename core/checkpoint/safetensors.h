#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/backend/backend.h"
#include "core/base/file.h"
#include "core/checkpoint/storage.h"
#include "core/tensor/tensor.h"

namespace wavefield {

// The safetensors format: 8 bytes header length (little-endian), a JSON header that names each
// tensor's dtype, shape and place, then the data without gaps.

struct NamedTensor {
  std::string name;
  Tensor tensor;             // fp32
  Backend* owner = nullptr;  // of the memory; null: the host's
};

// Streams `tensors`, in this order, to a file; data begins at a multiple of 64 bytes. REQUIRES:
// fp32 tensors with distinct names, none "__metadata__". ABORTED soon after `cancel` asks for it.
absl::StatusOr<WrittenFile> WriteSafetensors(Storage& storage, const std::string& path,
                                             std::span<const NamedTensor> tensors,
                                             const std::map<std::string, std::string>& metadata,
                                             const std::stop_token& cancel = {});

// An open file whose header was found sound. Not thread-safe.
class SafetensorsFile {
 public:
  struct Entry {
    std::string dtype;  // as in the header: "F32"
    Shape shape;
    uint64_t begin = 0;  // bytes from the start of the data
    uint64_t end = 0;
  };

  // INVALID_ARGUMENT, with file, tensor and reason, for a header that is oversize, not what the
  // format says, or at odds with the file's size.
  static absl::StatusOr<SafetensorsFile> Open(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  const std::map<std::string, Entry>& entries() const { return entries_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  // Where the data begin in the file, bytes.
  uint64_t data_offset() const { return data_offset_; }

  // Fills `tensor` with the data of the tensor `name`. NOT_FOUND; INVALID_ARGUMENT for another
  // shape or dtype. On failure the tensor's contents are undefined.
  absl::Status Read(const std::string& name, Tensor tensor) const;
  // The same for memory of any owner.
  absl::Status Read(const NamedTensor& destination) const;
  // Fills `elements` with those of the fp32 tensor `name` from `begin` on, in row-major order.
  // NOT_FOUND; INVALID_ARGUMENT for another dtype or a range outside of the tensor.
  absl::Status ReadPiece(const std::string& name, uint64_t begin, std::span<float> elements) const;

 private:
  SafetensorsFile() = default;
  absl::StatusOr<const Entry*> Find(const std::string& name, Tensor tensor) const;

  std::filesystem::path path_;
  FileDescriptor fd_;
  uint64_t data_offset_ = 0;
  std::map<std::string, Entry> entries_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace wavefield
