#include "core/checkpoint/safetensors.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"

namespace wavefield {
namespace {

using nlohmann::json;

static_assert(std::endian::native == std::endian::little, "safetensors data are little-endian");

constexpr size_t kAlignment = 64;
constexpr uint64_t kMaxHeaderBytes = 16 << 20;
constexpr int64_t kMaxDimension = int64_t{1} << 48;
constexpr char kMetadata[] = "__metadata__";
// What is copied between a device and the host, or written, at once.
constexpr int64_t kPieceElements = 8 << 20;

absl::Status Invalid(const std::filesystem::path& path, const std::string& reason) {
  return absl::InvalidArgumentError(absl::StrCat(path.string(), ": ", reason));
}

std::optional<uint64_t> BytesOf(const std::string& dtype) {
  static const std::map<std::string, uint64_t> kSizes = {
      {"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E4M3", 1}, {"F8_E5M2", 1},
      {"U16", 2},  {"I16", 2}, {"F16", 2}, {"BF16", 2},    {"U32", 4},
      {"I32", 4},  {"F32", 4}, {"U64", 8}, {"I64", 8},     {"F64", 8}};
  const auto found = kSizes.find(dtype);
  if (found == kSizes.end()) return std::nullopt;
  return found->second;
}

absl::Status ReadExactly(int fd, const std::filesystem::path& path, uint64_t offset, void* to,
                         uint64_t bytes) {
  char* out = static_cast<char*>(to);
  while (bytes > 0) {
    const ssize_t got = ::pread(fd, out, bytes, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoToStatus(errno, "cannot read " + path.string());
    if (got == 0) return Invalid(path, absl::StrCat("ends early, at byte ", offset));
    out += got;
    offset += static_cast<uint64_t>(got);
    bytes -= static_cast<uint64_t>(got);
  }
  return absl::OkStatus();
}

std::string Header(std::span<const NamedTensor> tensors,
                   const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header;
  header[kMetadata] = metadata;
  uint64_t offset = 0;
  for (const NamedTensor& named : tensors) {
    const Tensor& tensor = named.tensor;
    WF_CHECK_MSG(tensor.dtype == DType::kFloat32, named.name);
    WF_CHECK_MSG(!header.contains(named.name), named.name);
    std::vector<int64_t> shape;
    for (int i = 0; i < tensor.shape.rank(); ++i) shape.push_back(tensor.shape[i]);
    header[named.name] = {
        {"dtype", "F32"}, {"shape", shape}, {"data_offsets", {offset, offset + tensor.bytes()}}};
    offset += tensor.bytes();
  }
  std::string text = header.dump();
  text.resize((8 + text.size() + kAlignment - 1) / kAlignment * kAlignment - 8, ' ');
  return text;
}

uint64_t SaturatingMultiply(uint64_t a, uint64_t b) {
  uint64_t product = 0;
  return __builtin_mul_overflow(a, b, &product) ? std::numeric_limits<uint64_t>::max() : product;
}

// Lists and objects may be nested too deeply to be printed.
std::string Shown(const json& value) {
  return value.is_structured() ? value.type_name() : value.dump().substr(0, 40);
}

absl::StatusOr<SafetensorsFile::Entry> ParseEntry(const json& value, uint64_t data_bytes) {
  const auto bad = [](const std::string& reason) { return absl::InvalidArgumentError(reason); };
  if (!value.is_object() || value.size() != 3 || !value.contains("dtype") ||
      !value.contains("shape") || !value.contains("data_offsets")) {
    return bad("expected an object of dtype, shape and data_offsets");
  }
  const json &dtype = value["dtype"], &shape = value["shape"], &offsets = value["data_offsets"];
  if (!dtype.is_string() || !BytesOf(dtype.get<std::string>())) {
    return bad("unknown dtype " + Shown(dtype));
  }
  if (!shape.is_array() || shape.size() > 4) return bad("expected a shape of at most 4 dimensions");
  SafetensorsFile::Entry entry;
  entry.dtype = dtype.get<std::string>();
  std::array<int64_t, 4> dims{};
  uint64_t bytes = *BytesOf(entry.dtype);
  for (size_t i = 0; i < shape.size(); ++i) {
    if (!shape[i].is_number_unsigned() || shape[i].get<uint64_t>() > uint64_t{kMaxDimension}) {
      return bad("dimension " + Shown(shape[i]) + " is not a whole number in range");
    }
    dims[i] = shape[i].get<int64_t>();
    bytes = SaturatingMultiply(bytes, shape[i].get<uint64_t>());
  }
  switch (shape.size()) {
    case 0:
      entry.shape = {};
      break;
    case 1:
      entry.shape = {dims[0]};
      break;
    case 2:
      entry.shape = {dims[0], dims[1]};
      break;
    case 3:
      entry.shape = {dims[0], dims[1], dims[2]};
      break;
    default:
      entry.shape = {dims[0], dims[1], dims[2], dims[3]};
  }
  if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
      !offsets[1].is_number_unsigned()) {
    return bad("expected two whole numbers as data_offsets");
  }
  entry.begin = offsets[0].get<uint64_t>();
  entry.end = offsets[1].get<uint64_t>();
  if (entry.begin > entry.end || entry.end > data_bytes) {
    return bad(absl::StrCat("data_offsets [", entry.begin, ", ", entry.end,
                            "] are outside of the file's ", data_bytes, " bytes of data"));
  }
  if (bytes != entry.end - entry.begin) {
    return bad(absl::StrCat("data_offsets span ", entry.end - entry.begin,
                            " bytes, which is not what shape ", entry.shape.ToString(), " of ",
                            entry.dtype, " takes"));
  }
  return entry;
}

// Calls `work(piece)` for the pieces of a tensor; stops at an error.
template <typename Work>
absl::Status InPieces(Tensor tensor, const Work& work) {
  const Tensor flat = tensor.Reshape({tensor.elements()});
  for (int64_t begin = 0; begin < flat.elements(); begin += kPieceElements) {
    WF_RETURN_IF_ERROR(work(flat.Rows(begin, std::min(begin + kPieceElements, flat.elements()))));
  }
  return absl::OkStatus();
}

// Room for any piece of the tensor.
std::vector<char> PieceBuffer(Tensor tensor) {
  return std::vector<char>(static_cast<size_t>(std::min(kPieceElements, tensor.elements())) *
                           SizeOf(tensor.dtype));
}

absl::Status AppendTensor(StorageWriter& writer, const NamedTensor& named,
                          const std::stop_token& cancel) {
  std::vector<char> host;
  if (named.owner != nullptr) host = PieceBuffer(named.tensor);
  return InPieces(named.tensor, [&](Tensor piece) {
    if (cancel.stop_requested()) return absl::AbortedError("writing was cancelled");
    if (named.owner == nullptr) {
      return writer.Append({static_cast<const char*>(piece.data), piece.bytes()});
    }
    named.owner->CopyToHost(piece, host.data());
    return writer.Append({host.data(), piece.bytes()});
  });
}

absl::Status CheckNoGaps(const std::filesystem::path& path,
                         const std::map<std::string, SafetensorsFile::Entry>& entries,
                         uint64_t data_bytes) {
  std::vector<std::pair<std::pair<uint64_t, uint64_t>, std::string>> order;
  for (const auto& [name, entry] : entries) order.push_back({{entry.begin, entry.end}, name});
  std::sort(order.begin(), order.end());
  uint64_t expected = 0;
  for (const auto& [range, name] : order) {
    if (range.first != expected) {
      return Invalid(
          path, absl::StrCat("tensor '", name, "' begins at byte ", range.first, " of the data, ",
                             range.first < expected ? "inside of" : "after a gap behind",
                             " the tensor before, which ends at ", expected));
    }
    expected = range.second;
  }
  if (expected != data_bytes) {
    return Invalid(path, absl::StrCat("the tensors take ", expected, " bytes, but the file holds ",
                                      data_bytes, " bytes of data"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<WrittenFile> WriteSafetensors(Storage& storage, const std::string& path,
                                             std::span<const NamedTensor> tensors,
                                             const std::map<std::string, std::string>& metadata,
                                             const std::stop_token& cancel) {
  const std::string header = Header(tensors, metadata);
  char length[8];
  const uint64_t header_bytes = header.size();
  std::memcpy(length, &header_bytes, sizeof(length));
  WF_ASSIGN_OR_RETURN(const std::unique_ptr<StorageWriter> writer, storage.Create(path));
  WF_RETURN_IF_ERROR(writer->Append({length, sizeof(length)}));
  WF_RETURN_IF_ERROR(writer->Append(header));
  for (const NamedTensor& named : tensors) {
    WF_RETURN_IF_ERROR(AppendTensor(*writer, named, cancel));
  }
  return writer->Finish();
}

absl::StatusOr<SafetensorsFile> SafetensorsFile::Open(const std::filesystem::path& path) {
  SafetensorsFile file;
  file.path_ = path;
  file.fd_ = FileDescriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.fd_.valid()) return ErrnoToStatus(errno, "cannot open " + path.string());
  struct stat info {};
  if (::fstat(file.fd_.get(), &info) != 0) {
    return ErrnoToStatus(errno, "cannot stat " + path.string());
  }
  const uint64_t size = static_cast<uint64_t>(info.st_size);
  if (!S_ISREG(info.st_mode) || size < 8) {
    return Invalid(path, absl::StrCat("is not a safetensors file: ", size, " bytes"));
  }
  uint64_t header_bytes = 0;
  WF_RETURN_IF_ERROR(ReadExactly(file.fd_.get(), path, 0, &header_bytes, sizeof(header_bytes)));
  if (header_bytes > kMaxHeaderBytes || header_bytes > size - 8) {
    return Invalid(path, absl::StrCat("header length ", header_bytes, " is over the limit of ",
                                      std::min(kMaxHeaderBytes, size - 8), " bytes"));
  }
  std::string text(header_bytes, '\0');
  WF_RETURN_IF_ERROR(ReadExactly(file.fd_.get(), path, 8, text.data(), text.size()));
  const json header = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!header.is_object()) return Invalid(path, "the header is not a JSON object");

  file.data_offset_ = 8 + header_bytes;
  const uint64_t data_bytes = size - file.data_offset_;
  for (const auto& [name, value] : header.items()) {
    if (name == kMetadata) {
      if (!value.is_object()) return Invalid(path, "__metadata__ is not an object");
      for (const auto& [key, text_value] : value.items()) {
        if (!text_value.is_string()) {
          return Invalid(path, "__metadata__ value '" + key + "' is not a string");
        }
        file.metadata_[key] = text_value.get<std::string>();
      }
      continue;
    }
    absl::StatusOr<Entry> entry = ParseEntry(value, data_bytes);
    if (!entry.ok()) {
      return Invalid(path, absl::StrCat("tensor '", name, "': ", entry.status().message()));
    }
    file.entries_.emplace(name, *std::move(entry));
  }
  WF_RETURN_IF_ERROR(CheckNoGaps(path, file.entries_, data_bytes));
  return file;
}

absl::StatusOr<const SafetensorsFile::Entry*> SafetensorsFile::Find(const std::string& name,
                                                                    Tensor tensor) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) {
    return absl::NotFoundError(absl::StrCat(path_.string(), ": no tensor '", name, "'"));
  }
  const Entry& entry = found->second;
  if (entry.dtype != "F32" || tensor.dtype != DType::kFloat32) {
    return Invalid(path_, absl::StrCat("tensor '", name, "' is ", entry.dtype, ", expected F32"));
  }
  if (!(entry.shape == tensor.shape)) {
    return Invalid(path_, absl::StrCat("tensor '", name, "' has shape ", entry.shape.ToString(),
                                       ", expected ", tensor.shape.ToString()));
  }
  return &entry;
}

absl::Status SafetensorsFile::Read(const std::string& name, Tensor tensor) const {
  return Read({name, tensor});
}

absl::Status SafetensorsFile::ReadPiece(const std::string& name, uint64_t begin,
                                        std::span<float> elements) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) {
    return absl::NotFoundError(absl::StrCat(path_.string(), ": no tensor '", name, "'"));
  }
  const Entry& entry = found->second;
  const uint64_t size = (entry.end - entry.begin) / sizeof(float);
  if (entry.dtype != "F32" || begin > size || elements.size() > size - begin) {
    return Invalid(path_, absl::StrCat("tensor '", name, "' is ", entry.dtype, " with ", size,
                                       " elements; asked for were F32 ", begin, " to ",
                                       begin + elements.size()));
  }
  return ReadExactly(fd_.get(), path_, data_offset_ + entry.begin + begin * sizeof(float),
                     elements.data(), elements.size() * sizeof(float));
}

absl::Status SafetensorsFile::Read(const NamedTensor& destination) const {
  const Tensor& tensor = destination.tensor;
  WF_ASSIGN_OR_RETURN(const Entry* const entry, Find(destination.name, tensor));
  uint64_t offset = data_offset_ + entry->begin;
  if (destination.owner == nullptr) {
    return ReadExactly(fd_.get(), path_, offset, tensor.data, tensor.bytes());
  }
  std::vector<char> host = PieceBuffer(tensor);
  return InPieces(tensor, [&](Tensor piece) -> absl::Status {
    WF_RETURN_IF_ERROR(ReadExactly(fd_.get(), path_, offset, host.data(), piece.bytes()));
    destination.owner->CopyFromHost(host.data(), piece);
    offset += piece.bytes();
    return absl::OkStatus();
  });
}

}  // namespace wavefield
