#include "worker/agent/spool_segment.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "core/base/checksum.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"

namespace wavefield {
namespace {

void PutUint32(std::string& out, uint32_t value) {
  for (int shift = 0; shift < 32; shift += 8) out.push_back(static_cast<char>(value >> shift));
}

uint32_t GetUint32(std::string_view in) {
  uint32_t value = 0;
  for (int i = 3; i >= 0; --i) value = value << 8 | static_cast<unsigned char>(in[i]);
  return value;
}

}  // namespace

std::string EncodeRecord(std::string_view payload) {
  std::string record;
  record.reserve(payload.size() + kRecordHeaderBytes);
  PutUint32(record, static_cast<uint32_t>(payload.size()));
  PutUint32(record, Crc32c(payload));
  return record.append(payload);
}

std::filesystem::path SegmentPath(const std::filesystem::path& directory, int64_t first_sequence) {
  char name[40];
  std::snprintf(name, sizeof(name), "%020lld.segment", static_cast<long long>(first_sequence));
  return directory / name;
}

absl::Status ReadRecords(const std::filesystem::path& path, int64_t& offset,
                         const std::function<bool(std::string_view payload)>& visit) {
  const FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return ErrnoToStatus(errno, absl::StrCat("cannot open ", path.string()));
  const auto bad = [&](const std::string& reason) {
    return absl::DataLossError(absl::StrCat(path.string(), " at byte ", offset, ": ", reason));
  };
  // Read ahead: most records are a few hundred bytes.
  constexpr int64_t kChunkBytes = 256 << 10;
  std::string chunk;
  int64_t chunk_offset = offset;
  const auto view = [&](int64_t at, int64_t bytes) -> absl::StatusOr<std::string_view> {
    if (at + bytes > chunk_offset + static_cast<int64_t>(chunk.size())) {
      WF_ASSIGN_OR_RETURN(chunk, ReadAt(fd.get(), path, at, std::max(bytes, kChunkBytes)));
      chunk_offset = at;
    }
    return std::string_view(chunk).substr(static_cast<size_t>(at - chunk_offset),
                                          static_cast<size_t>(bytes));
  };
  while (true) {
    WF_ASSIGN_OR_RETURN(const std::string_view header, view(offset, kRecordHeaderBytes));
    if (header.empty()) return absl::OkStatus();
    if (header.size() < kRecordHeaderBytes) return bad("a record header is cut off");
    const int64_t length = GetUint32(header);
    const uint32_t checksum = GetUint32(header.substr(4));
    if (length > kMaxRecordBytes) return bad(absl::StrCat("a record of ", length, " bytes"));
    WF_ASSIGN_OR_RETURN(const std::string_view payload, view(offset + kRecordHeaderBytes, length));
    if (static_cast<int64_t>(payload.size()) < length) return bad("a record is cut off");
    if (Crc32c(payload) != checksum) return bad("a record fails its checksum");
    if (!visit(payload)) return absl::OkStatus();
    offset += kRecordHeaderBytes + length;
  }
}

}  // namespace wavefield
