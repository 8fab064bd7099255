#include "core/data/tokenizer/byte_source.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/status_macros.h"

namespace wavefield {
namespace {

constexpr size_t kCompressedBufferBytes = 1 << 18;
constexpr int kGzipOnly = 15 + 16;  // zlib's notation: the largest window, a gzip header

}  // namespace

absl::StatusOr<std::unique_ptr<ByteSource>> ByteSource::Open(const std::filesystem::path& path,
                                                             bool gzip) {
  FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return ErrnoToStatus(errno, absl::StrCat("cannot open ", path.string()));
  return std::unique_ptr<ByteSource>(new ByteSource(path, std::move(fd), gzip));
}

ByteSource::ByteSource(std::filesystem::path path, FileDescriptor fd, bool gzip)
    : path_(std::move(path)), fd_(std::move(fd)), gzip_(gzip) {
  if (!gzip_) return;
  compressed_.resize(kCompressedBufferBytes);
  WF_CHECK(inflateInit2(&stream_, kGzipOnly) == Z_OK);
}

ByteSource::~ByteSource() {
  if (gzip_) inflateEnd(&stream_);
}

absl::StatusOr<size_t> ByteSource::Read(std::span<char> out) {
  size_t filled = 0;
  while (filled < out.size()) {
    WF_ASSIGN_OR_RETURN(const size_t got,
                        gzip_ ? Inflate(out.subspan(filled)) : ReadFile(out.subspan(filled)));
    if (got == 0) break;
    filled += got;
  }
  return filled;
}

absl::StatusOr<size_t> ByteSource::ReadFile(std::span<char> out) {
  ssize_t got;
  do {
    got = ::read(fd_.get(), out.data(), out.size());
  } while (got < 0 && errno == EINTR);
  if (got < 0) return ErrnoToStatus(errno, absl::StrCat("cannot read ", path_.string()));
  digest_.Update({out.data(), static_cast<size_t>(got)});
  file_bytes_ += got;
  return static_cast<size_t>(got);
}

absl::StatusOr<size_t> ByteSource::Inflate(std::span<char> out) {
  while (true) {
    if (stream_.avail_in == 0) {
      WF_ASSIGN_OR_RETURN(const size_t got, ReadFile(compressed_));
      if (got == 0) {
        if (!inside_member_ && file_bytes_ > 0) return 0;
        return absl::DataLossError(absl::StrCat(
            path_.string(), " is truncated: its compressed data end at byte ", file_bytes_));
      }
      stream_.next_in = reinterpret_cast<Bytef*>(compressed_.data());
      stream_.avail_in = static_cast<uInt>(got);
    }
    stream_.next_out = reinterpret_cast<Bytef*>(out.data());
    stream_.avail_out = static_cast<uInt>(out.size());
    inside_member_ = true;
    const int result = inflate(&stream_, Z_NO_FLUSH);
    if (result == Z_STREAM_END) {
      inside_member_ = false;
      WF_CHECK(inflateReset(&stream_) == Z_OK);
    } else if (result != Z_OK && result != Z_BUF_ERROR) {
      return absl::DataLossError(absl::StrCat(
          path_.string(), " is not sound gzip data at byte ", file_bytes_ - stream_.avail_in, ": ",
          stream_.msg != nullptr ? stream_.msg : "unknown reason"));
    }
    if (const size_t got = out.size() - stream_.avail_out; got > 0) return got;
  }
}

}  // namespace wavefield
