#pragma once

#include <fmt/format.h>

#include <string>

#include "absl/status/statusor.h"
#include "core/base/checksum.h"

namespace wavefield::coordinator {

// The message of a row; DATA_LOSS when its checksum is wrong.
template <typename Message>
absl::StatusOr<Message> DecodeRecord(const char* table, const std::string& key,
                                     const std::string& record, int64_t crc) {
  Message message;
  if (static_cast<int64_t>(Crc32c(record)) != crc || !message.ParseFromString(record)) {
    return absl::DataLossError(fmt::format(
        "the row '{}' of table {} in the store is corrupt: its checksum is {:08x}, stored "
        "was {:08x}; restore coordinator.db from a backup",
        key, table, Crc32c(record), crc));
  }
  return message;
}

}  // namespace wavefield::coordinator
