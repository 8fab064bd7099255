#include "core/data/token_shard.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/status_macros.h"

namespace wavefield {
namespace {

static_assert(std::endian::native == std::endian::little, "shards are mapped, and little-endian");

// Offsets in the header, on disk.
constexpr char kMagic[] = "WFTOKENS";
constexpr size_t kVersionAt = 8;
constexpr size_t kTokenWidthAt = 12;
constexpr size_t kTokensAt = 16;
constexpr size_t kSegmentsAt = 24;
constexpr size_t kDocumentsAt = 32;
constexpr size_t kTextBytesAt = 40;
constexpr size_t kVocabSizeAt = 48;
constexpr size_t kSeparatorAt = 52;
constexpr size_t kDigestAt = 56;
constexpr size_t kReservedAt = 88;
constexpr size_t kCrcAt = 124;

constexpr uint32_t kEndsDocument = 1;  // flag of a row, on disk
constexpr size_t kWriteBufferBytes = 1 << 20;

template <typename T>
T Load(std::string_view bytes, size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

template <typename T>
void Store(std::string& bytes, size_t offset, T value) {
  std::memcpy(bytes.data() + offset, &value, sizeof(T));
}

uint64_t PaddedTokenBytes(const ShardHeader& header) {
  return (header.tokens * header.token_width + 7) / 8 * 8;
}

std::string EncodeHeader(const ShardHeader& header) {
  std::string bytes(kTokenShardHeaderBytes, '\0');
  std::memcpy(bytes.data(), kMagic, 8);
  Store(bytes, kVersionAt, kTokenShardVersion);
  Store(bytes, kTokenWidthAt, header.token_width);
  Store(bytes, kTokensAt, header.tokens);
  Store(bytes, kSegmentsAt, header.segments);
  Store(bytes, kDocumentsAt, header.documents);
  Store(bytes, kTextBytesAt, header.text_bytes);
  Store(bytes, kVocabSizeAt, header.vocab_size);
  Store(bytes, kSeparatorAt, header.separator_id);
  const std::string digest = absl::HexStringToBytes(header.payload_sha256);
  std::memcpy(bytes.data() + kDigestAt, digest.data(), 32);
  Store(bytes, kCrcAt, Crc32c(std::string_view(bytes).substr(0, kCrcAt)));
  return bytes;
}

}  // namespace

uint64_t ShardHeader::FileBytes() const {
  return kTokenShardHeaderBytes + PaddedTokenBytes(*this) + segments * kTokenShardRowBytes;
}

absl::StatusOr<ShardWriter> ShardWriter::Create(const std::filesystem::path& path,
                                                int64_t vocab_size, int32_t separator_id) {
  WF_CHECK(vocab_size > 0 && vocab_size <= kMaxVocabSize);
  WF_CHECK(separator_id >= kNoSeparator && separator_id < vocab_size);
  ShardWriter writer;
  writer.path_ = path;
  writer.fd_ = FileDescriptor(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!writer.fd_.valid()) {
    return ErrnoToStatus(errno, absl::StrCat("cannot create ", path.string()));
  }
  writer.header_.token_width = vocab_size <= 65536 ? 2 : 4;
  writer.header_.vocab_size = static_cast<uint32_t>(vocab_size);
  writer.header_.separator_id = separator_id;
  writer.buffer_.assign(kTokenShardHeaderBytes, '\0');
  return writer;
}

absl::Status ShardWriter::Append(std::span<const int32_t> tokens, uint32_t text_bytes,
                                 bool ends_document) {
  WF_CHECK(!tokens.empty());
  std::string row(kTokenShardRowBytes, '\0');
  Store(row, 0, header_.tokens);
  Store(row, 8, text_bytes);
  Store(row, 12, ends_document ? kEndsDocument : 0u);
  table_ += row;

  std::string bytes(tokens.size() * header_.token_width, '\0');
  for (size_t i = 0; i < tokens.size(); ++i) {
    const auto id = static_cast<uint32_t>(tokens[i]);
    WF_CHECK_MSG(id < header_.vocab_size, absl::StrCat("token id ", tokens[i]));
    std::memcpy(bytes.data() + i * header_.token_width, &id, header_.token_width);
  }
  header_.tokens += tokens.size();
  header_.segments += 1;
  header_.documents += ends_document ? 1 : 0;
  header_.text_bytes += text_bytes;
  return Write(bytes);
}

absl::StatusOr<ShardHeader> ShardWriter::Finish() {
  const uint64_t padding = PaddedTokenBytes(header_) - header_.tokens * header_.token_width;
  WF_RETURN_IF_ERROR(Write(std::string(padding, '\0')));
  WF_RETURN_IF_ERROR(Write(table_));
  WF_RETURN_IF_ERROR(Flush());
  header_.payload_sha256 = digest_.HexDigest();
  const std::string header = EncodeHeader(header_);
  if (::pwrite(fd_.get(), header.data(), header.size(), 0) != static_cast<ssize_t>(header.size())) {
    return ErrnoToStatus(errno, absl::StrCat("cannot write ", path_.string()));
  }
  if (::fsync(fd_.get()) != 0) {
    return ErrnoToStatus(errno, absl::StrCat("cannot sync ", path_.string()));
  }
  fd_.Close();
  return header_;
}

absl::Status ShardWriter::Write(std::string_view bytes) {
  digest_.Update(bytes);
  buffer_.append(bytes);
  return buffer_.size() < kWriteBufferBytes ? absl::OkStatus() : Flush();
}

absl::Status ShardWriter::Flush() {
  WF_RETURN_IF_ERROR(WriteAll(fd_.get(), path_, buffer_));
  buffer_.clear();
  return absl::OkStatus();
}

absl::Status TokenShard::Corrupt(uint64_t offset, const std::string& reason) const {
  return absl::DataLossError(
      absl::StrCat("token shard ", path_.string(), " is corrupt at byte ", offset, ": ", reason));
}

absl::StatusOr<TokenShard> TokenShard::Open(const std::filesystem::path& path) {
  TokenShard shard;
  shard.path_ = path;
  WF_ASSIGN_OR_RETURN(shard.file_, MappedFile::Open(path));
  const std::string_view bytes = shard.file_.bytes();
  if (bytes.size() < kTokenShardHeaderBytes) {
    return shard.Corrupt(bytes.size(), absl::StrCat("truncated inside its header of ",
                                                    kTokenShardHeaderBytes, " bytes"));
  }
  if (bytes.substr(0, 8) != kMagic) {
    return shard.Corrupt(0, "it does not begin with 'WFTOKENS'");
  }
  if (const auto version = Load<uint32_t>(bytes, kVersionAt); version != kTokenShardVersion) {
    return shard.Corrupt(
        kVersionAt, absl::StrCat("version ", version, "; this program reads ", kTokenShardVersion));
  }
  if (Load<uint32_t>(bytes, kCrcAt) != Crc32c(bytes.substr(0, kCrcAt))) {
    return shard.Corrupt(kCrcAt, "the header does not match its checksum");
  }
  ShardHeader& header = shard.header_;
  header.token_width = Load<uint32_t>(bytes, kTokenWidthAt);
  header.tokens = Load<uint64_t>(bytes, kTokensAt);
  header.segments = Load<uint64_t>(bytes, kSegmentsAt);
  header.documents = Load<uint64_t>(bytes, kDocumentsAt);
  header.text_bytes = Load<uint64_t>(bytes, kTextBytesAt);
  header.vocab_size = Load<uint32_t>(bytes, kVocabSizeAt);
  header.separator_id = Load<int32_t>(bytes, kSeparatorAt);
  header.payload_sha256 = absl::BytesToHexString(std::string(bytes.substr(kDigestAt, 32)));

  if (header.token_width != 2 && header.token_width != 4) {
    return shard.Corrupt(kTokenWidthAt,
                         absl::StrCat("token width ", header.token_width, "; allowed: 2, 4"));
  }
  const uint64_t payload = bytes.size() - kTokenShardHeaderBytes;
  if (header.tokens == 0 || header.tokens > payload / header.token_width) {
    return shard.Corrupt(kTokensAt, absl::StrCat("its ", header.tokens, " tokens do not fit its ",
                                                 bytes.size(), " bytes"));
  }
  if (header.segments == 0 ||
      header.segments > std::min(header.tokens, payload / kTokenShardRowBytes)) {
    return shard.Corrupt(
        kSegmentsAt,
        absl::StrCat("its ", header.segments, " segments do not fit its ", bytes.size(), " bytes"));
  }
  if (header.documents > header.segments) {
    return shard.Corrupt(kDocumentsAt, absl::StrCat(header.documents, " documents in ",
                                                    header.segments, " segments"));
  }
  if (header.text_bytes > header.segments * uint64_t{UINT32_MAX}) {
    return shard.Corrupt(kTextBytesAt, absl::StrCat(header.text_bytes, " bytes of text in ",
                                                    header.segments, " segments"));
  }
  if (header.vocab_size == 0 || header.vocab_size > kMaxVocabSize ||
      (header.token_width == 2 && header.vocab_size > 65536)) {
    return shard.Corrupt(kVocabSizeAt, absl::StrCat("vocabulary of ", header.vocab_size,
                                                    " with ids of ", header.token_width, " bytes"));
  }
  if (header.separator_id < kNoSeparator ||
      header.separator_id >= static_cast<int64_t>(header.vocab_size)) {
    return shard.Corrupt(kSeparatorAt, absl::StrCat("separator id ", header.separator_id,
                                                    " in a vocabulary of ", header.vocab_size));
  }
  const std::string_view reserved = bytes.substr(kReservedAt, kCrcAt - kReservedAt);
  if (const size_t used = reserved.find_first_not_of('\0'); used != std::string_view::npos) {
    return shard.Corrupt(kReservedAt + used, "a reserved byte is not 0");
  }
  if (header.FileBytes() != bytes.size()) {
    return shard.Corrupt(
        std::min<uint64_t>(header.FileBytes(), bytes.size()),
        absl::StrCat("it has ", bytes.size(), " bytes, its header describes ", header.FileBytes()));
  }
  return shard;
}

uint64_t TokenShard::TableOffset() const {
  return kTokenShardHeaderBytes + PaddedTokenBytes(header_);
}

ShardSegment TokenShard::segment(uint64_t index) const {
  WF_CHECK(index < header_.segments);
  const uint64_t row = TableOffset() + index * kTokenShardRowBytes;
  return {.first_token = Load<uint64_t>(file_.bytes(), row),
          .text_bytes = Load<uint32_t>(file_.bytes(), row + 8),
          .ends_document = (Load<uint32_t>(file_.bytes(), row + 12) & kEndsDocument) != 0};
}

absl::Status TokenShard::Verify() const {
  const std::string_view bytes = file_.bytes();
  if (Sha256Hex(bytes.substr(kTokenShardHeaderBytes)) != header_.payload_sha256) {
    return Corrupt(kTokenShardHeaderBytes, "the contents do not match their SHA-256");
  }
  const auto id_at = [&](uint64_t index) {
    const uint64_t offset = kTokenShardHeaderBytes + index * header_.token_width;
    return header_.token_width == 2 ? uint32_t{Load<uint16_t>(bytes, offset)}
                                    : Load<uint32_t>(bytes, offset);
  };
  for (uint64_t i = 0; i < header_.tokens; ++i) {
    if (id_at(i) >= header_.vocab_size) {
      return Corrupt(
          kTokenShardHeaderBytes + i * header_.token_width,
          absl::StrCat("token id ", id_at(i), " in a vocabulary of ", header_.vocab_size));
    }
  }
  uint64_t documents = 0;
  uint64_t text_bytes = 0;
  for (uint64_t i = 0; i < header_.segments; ++i) {
    const ShardSegment current = segment(i);
    const uint64_t row = TableOffset() + i * kTokenShardRowBytes;
    const uint64_t end = i + 1 < header_.segments ? segment(i + 1).first_token : header_.tokens;
    if ((i == 0 && current.first_token != 0) || current.first_token >= end ||
        end > header_.tokens) {
      return Corrupt(
          row, absl::StrCat("segment ", i, " covers tokens ", current.first_token, " to ", end));
    }
    if (current.ends_document && static_cast<int32_t>(id_at(end - 1)) != header_.separator_id) {
      return Corrupt(row, absl::StrCat("segment ", i, " does not end with the separator"));
    }
    documents += current.ends_document ? 1 : 0;
    text_bytes += current.text_bytes;
  }
  if (documents != header_.documents || text_bytes != header_.text_bytes) {
    return Corrupt(TableOffset(), absl::StrCat("the segments hold ", documents, " documents and ",
                                               text_bytes, " bytes of text, the header says ",
                                               header_.documents, " and ", header_.text_bytes));
  }
  return absl::OkStatus();
}

void TokenShard::Copy(int64_t begin, std::span<int32_t> out) const {
  WF_CHECK(begin >= 0 && begin + static_cast<int64_t>(out.size()) <= tokens());
  const char* source = file_.bytes().data() + kTokenShardHeaderBytes +
                       static_cast<uint64_t>(begin) * header_.token_width;
  uint32_t largest = 0;
  const auto copy = [&]<typename Id>(const Id* ids) {
    for (size_t i = 0; i < out.size(); ++i) {
      largest = std::max<uint32_t>(largest, ids[i]);
      out[i] = static_cast<int32_t>(ids[i]);
    }
  };
  if (header_.token_width == 2) {
    copy(reinterpret_cast<const uint16_t*>(source));
  } else {
    copy(reinterpret_cast<const uint32_t*>(source));
  }
  WF_CHECK_MSG(largest < header_.vocab_size,
               absl::StrCat("token id ", largest, " in ", path_.string(), ", whose vocabulary has ",
                            header_.vocab_size, ": the file was damaged after it was opened"));
}

}  // namespace wavefield
