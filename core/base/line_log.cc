#include "core/base/line_log.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "core/base/check.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"

namespace wavefield {
namespace {

constexpr std::string_view kSuffix = ".lines";
constexpr int kNameDigits = 20;

void AppendRecord(const NumberedLine& line, std::string& out) {
  absl::StrAppend(&out, line.number, " ", absl::ToUnixNanos(line.time), " ", line.text, "\n");
}

// `record` without its newline.
std::optional<NumberedLine> ParseRecord(std::string_view record) {
  NumberedLine line;
  int64_t nanos = 0;
  const char* const end = record.data() + record.size();
  const auto number = std::from_chars(record.data(), end, line.number);
  if (number.ec != std::errc() || number.ptr == end || *number.ptr != ' ') return std::nullopt;
  const auto time = std::from_chars(number.ptr + 1, end, nanos);
  if (time.ec != std::errc() || time.ptr == end || *time.ptr != ' ') return std::nullopt;
  line.time = absl::FromUnixNanos(nanos);
  line.text.assign(time.ptr + 1, end);
  return line;
}

std::optional<int64_t> NumberOfName(const std::string& name) {
  int64_t number = 0;
  if (name.size() != kNameDigits + kSuffix.size() || !name.ends_with(kSuffix)) return std::nullopt;
  const auto parsed = std::from_chars(name.data(), name.data() + kNameDigits, number);
  if (parsed.ec != std::errc() || parsed.ptr != name.data() + kNameDigits) return std::nullopt;
  return number;
}

absl::StatusOr<std::string> ReadRange(const std::filesystem::path& path, int64_t offset,
                                      int64_t bytes) {
  const FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return ErrnoToStatus(errno, absl::StrCat("cannot open ", path.string()));
  return ReadAt(fd.get(), path, offset, bytes);
}

}  // namespace

absl::StatusOr<std::unique_ptr<LineLog>> LineLog::Open(const std::filesystem::path& directory,
                                                       const LineLogOptions& options) {
  WF_RETURN_IF_ERROR(CreateDirectories(directory));
  auto log = std::unique_ptr<LineLog>(new LineLog(directory, options));
  const absl::MutexLock lock(&log->mutex_);
  WF_RETURN_IF_ERROR(log->Recover());
  return log;
}

std::filesystem::path LineLog::PathOf(int64_t first) const {
  char name[40];
  std::snprintf(name, sizeof(name), "%020lld.lines", static_cast<long long>(first));
  return directory_ / name;
}

absl::Status LineLog::Recover() {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory_, error)) {
    const std::optional<int64_t> first = NumberOfName(entry.path().filename().string());
    struct stat info {};
    if (!first || ::stat(entry.path().c_str(), &info) != 0) continue;
    segments_.push_back({*first, info.st_size, absl::TimeFromTimespec(info.st_mtim)});
  }
  if (error) {
    return ErrnoToStatus(error.value(), absl::StrCat("cannot list ", directory_.string()));
  }
  std::sort(segments_.begin(), segments_.end(),
            [](const Segment& a, const Segment& b) { return a.first < b.first; });
  if (segments_.empty()) return absl::OkStatus();

  Segment& last = segments_.back();
  next_ = last.first;
  const std::filesystem::path path = PathOf(last.first);
  WF_ASSIGN_OR_RETURN(const std::string contents, ReadRange(path, 0, last.bytes));
  size_t good = 0;
  for (size_t newline; (newline = contents.find('\n', good)) != std::string::npos;
       good = newline + 1) {
    const auto line = ParseRecord(std::string_view(contents).substr(good, newline - good));
    if (!line || line->number < next_) break;
    next_ = line->number + 1;
  }
  if (good == contents.size()) return absl::OkStatus();
  spdlog::warn("log lines: the last {} bytes of {} are damaged and cut off", contents.size() - good,
               path.string());
  if (::truncate(path.c_str(), static_cast<off_t>(good)) != 0) {
    return ErrnoToStatus(errno, absl::StrCat("cannot cut off ", path.string()));
  }
  last.bytes = static_cast<int64_t>(good);
  return absl::OkStatus();
}

absl::Status LineLog::AddSegment(int64_t first) {
  const std::filesystem::path path = PathOf(first);
  const FileDescriptor fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
  if (!fd.valid()) return ErrnoToStatus(errno, absl::StrCat("cannot create ", path.string()));
  segments_.push_back({first, 0, absl::Now()});
  return absl::OkStatus();
}

absl::Status LineLog::Append(const std::vector<NumberedLine>& lines) {
  const absl::MutexLock lock(&mutex_);
  for (auto line = lines.begin(); line != lines.end();) {
    if (segments_.empty() || segments_.back().bytes >= options_.segment_bytes) {
      WF_RETURN_IF_ERROR(AddSegment(line->number));
    }
    const int64_t room = options_.segment_bytes - segments_.back().bytes;
    std::string records;
    int64_t next = next_;
    do {
      WF_CHECK(line->number >= next);
      next = line->number + 1;
      AppendRecord(*line++, records);
    } while (line != lines.end() && static_cast<int64_t>(records.size()) < room);
    WF_RETURN_IF_ERROR(WriteToLast(records));
    next_ = next;
  }
  return absl::OkStatus();
}

absl::Status LineLog::WriteToLast(const std::string& records) {
  Segment& segment = segments_.back();
  const std::filesystem::path path = PathOf(segment.first);
  const FileDescriptor fd(::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
  if (!fd.valid()) return ErrnoToStatus(errno, absl::StrCat("cannot open ", path.string()));
  if (const absl::Status written = WriteAll(fd.get(), path, records); !written.ok()) {
    // What cannot be taken back is cut off by the next Open(), or stops a reader of this file.
    if (::ftruncate(fd.get(), static_cast<off_t>(segment.bytes)) != 0) {
      spdlog::warn("log lines: {} keeps half a line", path.string());
    }
    return written;
  }
  segment.bytes += static_cast<int64_t>(records.size());
  segment.written = absl::Now();
  return absl::OkStatus();
}

absl::Status LineLog::Read(LinePosition& position, int64_t max_bytes,
                           std::vector<NumberedLine>& lines) const {
  lines.clear();
  while (lines.empty()) {
    Segment segment;
    {
      const absl::MutexLock lock(&mutex_);
      if (position.next >= next_) return absl::OkStatus();
      auto found = std::upper_bound(
          segments_.begin(), segments_.end(), position.next,
          [](int64_t number, const Segment& other) { return number < other.first; });
      if (found != segments_.begin()) --found;
      if (found->first == position.segment && position.offset >= found->bytes) ++found;
      if (found == segments_.end()) return absl::OkStatus();
      segment = *found;
    }
    if (segment.first != position.segment) {
      position.segment = segment.first;
      position.offset = 0;
    }
    const auto chunk =
        ReadRange(PathOf(segment.first), position.offset,
                  std::min(std::max(max_bytes, kLeastReadBytes), segment.bytes - position.offset));
    if (!chunk.ok() && !absl::IsNotFound(chunk.status())) return chunk.status();
    // What was dropped meanwhile, or is damaged, is passed over.
    size_t begin = 0;
    bool readable = false;
    if (chunk.ok()) {
      for (size_t newline; (newline = chunk->find('\n', begin)) != std::string::npos;
           begin = newline + 1) {
        auto line = ParseRecord(std::string_view(*chunk).substr(begin, newline - begin));
        readable = line.has_value();
        if (!readable) break;
        if (line->number < position.next) continue;
        position.next = line->number + 1;
        lines.push_back(*std::move(line));
      }
    }
    position.offset = readable ? position.offset + static_cast<int64_t>(begin) : segment.bytes;
  }
  return absl::OkStatus();
}

int64_t LineLog::next() const {
  const absl::MutexLock lock(&mutex_);
  return next_;
}

int64_t LineLog::bytes() const {
  const absl::MutexLock lock(&mutex_);
  int64_t bytes = 0;
  for (const Segment& segment : segments_) bytes += segment.bytes;
  return bytes;
}

absl::Time LineLog::oldest() const {
  const absl::MutexLock lock(&mutex_);
  for (const Segment& segment : segments_) {
    if (segment.bytes > 0) return segment.written;
  }
  return absl::InfiniteFuture();
}

bool LineLog::DropFront() {
  if (segments_.empty()) return false;
  // Appended lines go to the last file: it must tell the next number.
  if (segments_.size() == 1) {
    if (segments_.front().bytes == 0 || !AddSegment(next_).ok()) return false;
  }
  const std::filesystem::path path = PathOf(segments_.front().first);
  segments_.pop_front();
  std::error_code ignored;
  std::filesystem::remove(path, ignored);
  return true;
}

bool LineLog::DropOldest() {
  const absl::MutexLock lock(&mutex_);
  while (!segments_.empty()) {
    const bool had_lines = segments_.front().bytes > 0;
    if (!DropFront()) return false;
    if (had_lines) return true;
  }
  return false;
}

void LineLog::DropBefore(int64_t number) {
  const absl::MutexLock lock(&mutex_);
  while (!segments_.empty()) {
    const int64_t end = segments_.size() > 1 ? segments_[1].first : next_;
    if (number < end || !DropFront()) return;
  }
}

}  // namespace wavefield
