#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// A segment of the spool on disk: records one after the other, nothing else.
//
//   offset  size  little-endian
//   0       4     n, length of the payload, at most kMaxRecordBytes
//   4       4     CRC-32C of the payload
//   8       n     payload: a serialized wavefield.v1.WorkerEvent with its sequence
//
// A file is named by the sequence of its first record: 20 digits and ".segment". Sequences have no
// gaps, within a file or between files. What follows the first record that is cut off or fails its
// checksum is not part of the spool.
namespace wavefield {

inline constexpr int64_t kRecordHeaderBytes = 8;
inline constexpr int64_t kMaxRecordBytes = int64_t{8} << 20;  // on disk; do not lower

std::string EncodeRecord(std::string_view payload);

std::filesystem::path SegmentPath(const std::filesystem::path& directory, int64_t first_sequence);

// Calls `visit(payload)` for the records from `offset` on, until it returns false, the
// file ends or a record is bad. `offset` is moved behind the last record visited.
// DATA_LOSS, with the place and reason, for a bad record.
absl::Status ReadRecords(const std::filesystem::path& path, int64_t& offset,
                         const std::function<bool(std::string_view payload)>& visit);

}  // namespace wavefield
