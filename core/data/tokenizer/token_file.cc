#include "core/data/tokenizer/token_file.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"

namespace wavefield {
namespace {

// llm.c's headers: one magic number and version for each type of id.
constexpr int64_t kLlmcHeaderBytes = 1024;
struct LlmcHeader {
  uint32_t magic;
  uint32_t version;
  int64_t width;
};
constexpr LlmcHeader kLlmcHeaders[] = {{20240520, 1, 2}, {20240801, 7, 4}};

constexpr int64_t kWidthCheckTokens = 4096;

uint32_t Number(std::string_view bytes, size_t offset) {
  uint32_t value = 0;
  std::memcpy(&value, bytes.data() + offset, sizeof(value));
  return value;
}

const LlmcHeader* FindHeader(std::string_view bytes) {
  if (bytes.size() < sizeof(uint32_t)) return nullptr;
  const auto found =
      std::find_if(std::begin(kLlmcHeaders), std::end(kLlmcHeaders),
                   [&](const LlmcHeader& header) { return header.magic == Number(bytes, 0); });
  return found == std::end(kLlmcHeaders) ? nullptr : found;
}

}  // namespace

absl::Status TokenFile::Bad(int64_t offset, const std::string& reason) const {
  return absl::InvalidArgumentError(
      absl::StrCat("token file ", path_.string(), ", byte ", offset, ": ", reason));
}

absl::StatusOr<TokenFile> TokenFile::Open(const std::filesystem::path& path,
                                          const TokenFileFormat& format) {
  TokenFile file;
  file.path_ = path;
  WF_ASSIGN_OR_RETURN(file.file_, MappedFile::Open(path));
  const auto size = static_cast<int64_t>(file.bytes().size());
  if (size == 0) return file.Bad(0, "the file is empty");
  if (format.layout == "llm.c" || (format.layout.empty() && FindHeader(file.bytes()) != nullptr)) {
    WF_RETURN_IF_ERROR(file.ReadLlmcHeader());
    if (!format.type.empty() && format.type != (file.width_ == 2 ? "uint16" : "uint32")) {
      return file.Bad(0, absl::StrCat("the header announces ids of ", 8 * file.width_,
                                      " bits, but ", format.type, " was asked for"));
    }
    return file;
  }
  file.width_ = format.type == "uint32" ? 4 : 2;
  if (const int64_t rest = size % file.width_; rest != 0) {
    return file.Bad(size - rest,
                    absl::StrCat("the file of ", size, " bytes ends inside an id of ", file.width_,
                                 " bytes: it was cut short, or holds ids "
                                 "of another type"));
  }
  file.tokens_ = size / file.width_;
  // Ids of 32 bits below 65,536, read as ids of 16 bits, are every other one 0.
  const int64_t checked = std::min(file.tokens_ / 2, kWidthCheckTokens);
  int64_t zeros = 0;
  int64_t others = 0;
  for (int64_t i = 0; file.width_ == 2 && i < checked; ++i) {
    zeros += file.id(2 * i + 1) == 0 ? 1 : 0;
    others += file.id(2 * i) != 0 ? 1 : 0;
  }
  if (checked >= 8 && zeros == checked && others > 0) {
    return file.Bad(0, absl::StrCat("every second of the first ", 2 * checked,
                                    " ids is 0, as if ids of 32 bits were read as ids of 16: give "
                                    "the type uint32"));
  }
  return file;
}

absl::Status TokenFile::ReadLlmcHeader() {
  const auto size = static_cast<int64_t>(bytes().size());
  if (size < kLlmcHeaderBytes) {
    return Bad(size,
               absl::StrCat("the file ends inside llm.c's header of ", kLlmcHeaderBytes, " bytes"));
  }
  const LlmcHeader* header = FindHeader(bytes());
  if (header == nullptr) {
    return Bad(
        0, absl::StrCat("it begins with ", Number(bytes(), 0),
                        ", not with a magic number of llm.c's token files: ", kLlmcHeaders[0].magic,
                        " (uint16) or ", kLlmcHeaders[1].magic, " (uint32)"));
  }
  if (const uint32_t version = Number(bytes(), 4); version != header->version) {
    return Bad(4, absl::StrCat("version ", version, " of llm.c's header ", header->magic,
                               "; readable: ", header->version));
  }
  header_bytes_ = kLlmcHeaderBytes;
  width_ = header->width;
  tokens_ = Number(bytes(), 8);
  if (tokens_ == 0) return Bad(8, "the header announces no tokens");
  if (const int64_t expected = ByteOffset(tokens_); size != expected) {
    return Bad(std::min(size, expected),
               absl::StrCat("the header announces ", tokens_, " tokens, which need ", expected,
                            " bytes; the file has ", size));
  }
  return absl::OkStatus();
}

uint32_t TokenFile::id(int64_t index) const {
  const char* at = bytes().data() + ByteOffset(index);
  if (width_ == 4) return Number(bytes(), static_cast<size_t>(ByteOffset(index)));
  uint16_t id = 0;
  std::memcpy(&id, at, sizeof(id));
  return id;
}

}  // namespace wavefield
