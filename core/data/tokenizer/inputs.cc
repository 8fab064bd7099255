#include "core/data/tokenizer/inputs.h"

#include <algorithm>
#include <optional>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"

namespace wavefield {
namespace {

namespace fs = std::filesystem;

bool IsCompressed(const fs::path& path) {
  return path.extension() == ".gz" || path.extension() == ".dz";
}

// What the name says of the contents.
std::optional<InputFormat> FormatByName(const fs::path& path) {
  const auto extension = IsCompressed(path) ? path.stem().extension() : path.extension();
  if (extension == ".txt") return InputFormat::kText;
  if (extension == ".jsonl") return InputFormat::kJsonLines;
  return std::nullopt;
}

InputFile Describe(const fs::path& path, InputFormat format) {
  std::error_code error;
  const auto bytes = fs::is_regular_file(path, error) ? fs::file_size(path, error) : 0;
  return {.path = path,
          .format = format,
          .gzip = IsCompressed(path),
          .bytes = error ? 0 : static_cast<int64_t>(bytes)};
}

absl::Status ListFolder(const fs::path& folder, InputList& list) {
  std::error_code error;
  std::vector<fs::path> paths;
  fs::recursive_directory_iterator iterator(folder, error);
  for (; !error && iterator != fs::recursive_directory_iterator(); iterator.increment(error)) {
    std::error_code ignored;
    if (iterator->is_regular_file(ignored)) paths.push_back(iterator->path());
  }
  if (error)
    return ErrnoToStatus(error.value(), absl::StrCat("cannot read folder ", folder.string()));
  std::sort(paths.begin(), paths.end());
  for (const fs::path& path : paths) {
    if (const auto format = FormatByName(path)) {
      list.files.push_back(Describe(path, *format));
    } else {
      list.ignored.push_back(path.string());
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<InputList> ListInputs(std::span<const fs::path> paths) {
  InputList list;
  for (const fs::path& path : paths) {
    std::error_code error;
    const fs::file_status status = fs::status(path, error);
    if (error)
      return ErrnoToStatus(error.value(), absl::StrCat("cannot read input ", path.string()));
    if (fs::is_directory(status)) {
      WF_RETURN_IF_ERROR(ListFolder(path, list));
    } else {
      list.files.push_back(Describe(path, FormatByName(path).value_or(InputFormat::kText)));
    }
  }
  if (list.files.empty()) {
    return absl::NotFoundError(
        absl::StrCat("the input holds no .txt or .jsonl file, plain or .gz (", list.ignored.size(),
                     " other files were ignored); name a file itself to read it as text"));
  }
  return list;
}

}  // namespace wavefield
