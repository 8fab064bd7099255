#include "cli/source_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <set>

#include "core/base/checksum.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"

namespace wavefield {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxSources = 10000;  // the coordinator takes no more
constexpr size_t kReadBytes = 1 << 20;

bool IsCompressed(const fs::path& path) {
  return path.extension() == ".gz" || path.extension() == ".dz";
}

// .txt and .jsonl, and those compressed.
bool IsText(fs::path path) {
  if (IsCompressed(path)) path = path.stem();
  return path.extension() == ".txt" || path.extension() == ".jsonl";
}

// A file that is named itself is text whatever it is called; the name it is sent under says so.
std::string UploadName(const fs::path& file) {
  const fs::path name = file.filename();
  if (IsText(name)) return name.string();
  if (IsCompressed(name)) return name.stem().string() + ".txt" + name.extension().string();
  return name.string() + ".txt";
}

absl::Status AddFile(const fs::path& file, const std::string& path,
                     std::vector<LocalSource>& sources) {
  std::error_code error;
  LocalSource source{.file = file, .path = path};
  source.bytes = static_cast<int64_t>(fs::file_size(file, error));
  if (error) return ErrnoToStatus(error.value(), "cannot read " + file.string());
  sources.push_back(std::move(source));
  if (sources.size() <= kMaxSources) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("more than {} files; join them into fewer, larger ones", kMaxSources));
}

absl::Status AddDirectory(const fs::path& directory, std::vector<LocalSource>& sources) {
  std::error_code error;
  std::vector<fs::path> files;
  for (auto at = fs::recursive_directory_iterator(directory, error);
       !error && at != fs::recursive_directory_iterator(); at.increment(error)) {
    std::error_code kind_error;
    if (IsText(at->path()) && at->is_regular_file(kind_error)) files.push_back(at->path());
  }
  if (error) return ErrnoToStatus(error.value(), "cannot read " + directory.string());
  std::sort(files.begin(), files.end());
  if (files.empty()) {
    return absl::InvalidArgumentError(fmt::format(
        "no .txt or .jsonl files (or those with .gz or .dz) below {}", directory.string()));
  }
  const fs::path name = fs::weakly_canonical(directory, error).filename();
  for (const fs::path& file : files) {
    WF_RETURN_IF_ERROR(
        AddFile(file, (name / file.lexically_relative(directory)).string(), sources));
  }
  return absl::OkStatus();
}

// Inputs from different places may share a name: those that come later get a numbered folder.
void MakePathsUnique(std::vector<LocalSource>& sources) {
  std::set<std::string> taken;
  for (LocalSource& source : sources) {
    const std::string path = source.path;
    for (int n = 2; !taken.insert(source.path).second; ++n)
      source.path = fmt::format("{}/{}", n, path);
  }
}

}  // namespace

absl::StatusOr<std::vector<LocalSource>> FindSources(const std::vector<std::string>& inputs) {
  std::vector<LocalSource> sources;
  for (const std::string& input : inputs) {
    std::error_code error;
    const fs::file_status status = fs::status(input, error);
    if (!fs::exists(status)) {
      return ErrnoToStatus(error ? error.value() : ENOENT, "cannot read --input " + input);
    }
    if (fs::is_directory(status)) {
      WF_RETURN_IF_ERROR(AddDirectory(input, sources));
    } else if (fs::is_regular_file(status)) {
      WF_RETURN_IF_ERROR(AddFile(input, UploadName(input), sources));
    } else {
      return absl::InvalidArgumentError(
          fmt::format("--input {} is neither a file nor a directory", input));
    }
  }
  int64_t bytes = 0;
  for (const LocalSource& source : sources) bytes += source.bytes;
  if (bytes == 0)
    return absl::InvalidArgumentError("the input is empty: its files hold 0 bytes in all");
  MakePathsUnique(sources);
  return sources;
}

absl::Status AddFilesOfKind(const std::vector<std::string>& files, const std::string& flag,
                            v1::SourceKind kind, std::vector<LocalSource>& sources) {
  for (const std::string& file : files) {
    std::error_code error;
    const fs::file_status status = fs::status(file, error);
    if (!fs::exists(status)) {
      return ErrnoToStatus(error ? error.value() : ENOENT,
                           fmt::format("cannot read {} {}", flag, file));
    }
    if (!fs::is_regular_file(status)) {
      return absl::InvalidArgumentError(fmt::format("{} {} is not a file", flag, file));
    }
    WF_RETURN_IF_ERROR(AddFile(file, fs::path(file).filename().string(), sources));
    sources.back().kind = kind;
    if (sources.back().bytes == 0) {
      return absl::InvalidArgumentError(fmt::format("{} {} is empty", flag, file));
    }
  }
  MakePathsUnique(sources);
  return absl::OkStatus();
}

absl::Status HashSources(std::vector<LocalSource>& sources,
                         const std::function<void(int64_t)>& on_progress) {
  std::string buffer(kReadBytes, '\0');
  int64_t done = 0;
  for (LocalSource& source : sources) {
    std::ifstream file(source.file, std::ios::binary);
    if (!file) return ErrnoToStatus(errno, "cannot read " + source.file.string());
    Sha256 hash;
    source.bytes = 0;
    while (file) {
      file.read(buffer.data(), static_cast<std::streamsize>(buffer.size()));
      const auto got = static_cast<size_t>(file.gcount());
      hash.Update({buffer.data(), got});
      source.bytes += static_cast<int64_t>(got);
      done += static_cast<int64_t>(got);
      on_progress(done);
    }
    if (file.bad()) return ErrnoToStatus(errno, "cannot read " + source.file.string());
    source.sha256 = hash.HexDigest();
  }
  return absl::OkStatus();
}

}  // namespace wavefield
