#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace wavefield {

// CRC-32C (Castagnoli), as of RFC 3720; `crc` continues an earlier one.
uint32_t Crc32c(std::string_view data, uint32_t crc = 0);

// SHA-256, incremental. Not thread-safe.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  void Update(std::string_view data);
  // 64 lower-case hexadecimal digits. Call once, last.
  std::string HexDigest();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

std::string Sha256Hex(std::string_view data);
absl::StatusOr<std::string> Sha256HexOfFile(const std::filesystem::path& path);

}  // namespace wavefield
