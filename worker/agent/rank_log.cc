#include "worker/agent/rank_log.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace wavefield {
namespace {

constexpr char kCut[] = "…";
// Of a line that is passed on, and of one of the last.
constexpr size_t kMaxLineBytes = 4096 - (sizeof(kCut) - 1);
constexpr size_t kMaxLastLineBytes = 500;

// Length of the valid UTF-8 sequence at the front of `text`; 0 if there is none.
size_t Utf8SequenceLength(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  const bool overlong = (lead == 0xE0 && byte(1) < 0xA0) || (lead == 0xF0 && byte(1) < 0x90);
  const bool outside = (lead == 0xED && byte(1) > 0x9F) || (lead == 0xF4 && byte(1) > 0x8F);
  return overlong || outside ? 0 : length;
}

// At most `limit` bytes of `line`, each invalid byte replaced by '?'.
std::string Printable(std::string_view line, size_t limit) {
  std::string out;
  while (!line.empty()) {
    const size_t length = Utf8SequenceLength(line);
    if (out.size() + length > limit) return out + kCut;
    out.append(length == 0 ? "?" : line.substr(0, length));
    line.remove_prefix(length == 0 ? 1 : length);
  }
  return out;
}

}  // namespace

RankLog::RankLog(std::filesystem::path path, const RankLogOptions& options, OnLine on_line)
    : path_(std::move(path)), options_(options), on_line_(std::move(on_line)) {
  Open();
}

void RankLog::Open() {
  std::error_code ignored;
  std::filesystem::create_directories(path_.parent_path(), ignored);
  fd_ = FileDescriptor(::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  struct stat info {};
  size_ = fd_.valid() && ::fstat(fd_.get(), &info) == 0 ? info.st_size : 0;
}

std::filesystem::path RankLog::Numbered(int i) const {
  return i == 0 ? path_ : std::filesystem::path(absl::StrCat(path_.string(), ".", i));
}

void RankLog::Discard() {
  fd_.Close();
  std::error_code ignored;
  for (int i = 0; i <= options_.keep; ++i) std::filesystem::remove(Numbered(i), ignored);
}

void RankLog::Rotate() {
  fd_.Close();
  std::error_code ignored;
  for (int i = options_.keep; i > 0; --i) {
    std::filesystem::rename(Numbered(i - 1), Numbered(i), ignored);
  }
  if (options_.keep == 0) std::filesystem::remove(path_, ignored);
  Open();
}

void RankLog::Write(std::string_view bytes) {
  Remember(bytes);
  while (!bytes.empty()) {
    const auto room = static_cast<size_t>(std::max<int64_t>(0, options_.max_bytes - size_));
    if (bytes.size() <= room) return WriteToFile(bytes);
    // The line that reaches the limit is the file's last.
    const size_t newline = bytes.find('\n', room);
    const size_t head = newline == std::string_view::npos ? bytes.size() : newline + 1;
    WriteToFile(bytes.substr(0, head));
    bytes.remove_prefix(head);
    if (newline != std::string_view::npos || size_ > 2 * options_.max_bytes) Rotate();
  }
}

void RankLog::WriteToFile(std::string_view bytes) {
  size_ += static_cast<int64_t>(bytes.size());
  while (!bytes.empty()) {
    const ssize_t put = ::write(fd_.get(), bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) {
      if (!std::exchange(complained_, true)) {
        spdlog::warn("cannot write to {}: {}; log lines are lost until that is mended",
                     path_.string(), std::strerror(errno));
      }
      return;
    }
    complained_ = false;
    bytes.remove_prefix(static_cast<size_t>(put));
  }
}

void RankLog::Remember(std::string_view bytes) {
  while (!bytes.empty()) {
    const size_t newline = bytes.find('\n');
    const std::string_view piece = bytes.substr(0, newline);
    if (partial_.size() <= kMaxLineBytes) partial_.append(piece.substr(0, kMaxLineBytes + 4));
    if (newline == std::string_view::npos) return;
    bytes.remove_prefix(newline + 1);
    EndLine();
  }
}

void RankLog::EndLine() {
  if (on_line_) on_line_(Printable(partial_, kMaxLineBytes));
  lines_.push_back(Printable(partial_, kMaxLastLineBytes));
  partial_.clear();
  if (static_cast<int>(lines_.size()) > options_.tail_lines) lines_.pop_front();
}

void RankLog::Finish() {
  if (!partial_.empty()) EndLine();
}

std::vector<std::string> RankLog::LastLines() const {
  std::vector<std::string> lines(lines_.begin(), lines_.end());
  if (!partial_.empty()) lines.push_back(Printable(partial_, kMaxLastLineBytes));
  if (static_cast<int>(lines.size()) > options_.tail_lines) lines.erase(lines.begin());
  return lines;
}

}  // namespace wavefield
