#include "worker/agent/spool.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/status_macros.h"
#include "worker/agent/spool_segment.h"

namespace wavefield {
namespace {

// Bytes of one write and fsync.
constexpr size_t kMaxWriteBytes = 4 << 20;
// Beside the segments: the sequence up to which all is acknowledged, 8 bytes in the machine's
// order, not synced. Without it more is replayed than need be.
constexpr char kMarkName[] = "acknowledged";

}  // namespace

absl::StatusOr<std::unique_ptr<Spool>> Spool::Open(const SpoolOptions& options) {
  WF_RETURN_IF_ERROR(CreateDirectories(options.directory));
  auto spool = std::unique_ptr<Spool>(new Spool(options));
  const absl::MutexLock disk_lock(&spool->disk_mutex_);
  WF_RETURN_IF_ERROR(spool->Recover());
  WF_RETURN_IF_ERROR(spool->OpenMark());
  return spool;
}

Spool::~Spool() {
  if (acknowledged() < last_sequence()) return;
  const absl::MutexLock disk_lock(&disk_mutex_);
  std::error_code ignored;
  for (const Segment& segment : segments_) std::filesystem::remove(segment.path, ignored);
  std::filesystem::remove(options_.directory / kMarkName, ignored);
}

absl::Status Spool::OpenMark() {
  const std::filesystem::path path = options_.directory / kMarkName;
  mark_ = FileDescriptor(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (!mark_.valid()) return ErrnoToStatus(errno, absl::StrCat("cannot open ", path.string()));
  int64_t marked = 0;
  const ssize_t got = ::pread(mark_.get(), &marked, sizeof(marked), 0);
  const absl::MutexLock lock(&mutex_);
  if (got == sizeof(marked) && marked <= last_) acknowledged_ = std::max(acknowledged_, marked);
  return absl::OkStatus();
}

absl::Status Spool::Recover() {
  std::vector<std::filesystem::path> paths;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(options_.directory, error)) {
    if (entry.path().extension() == ".segment") paths.push_back(entry.path());
  }
  if (error) {
    return ErrnoToStatus(error.value(), absl::StrCat("cannot list ", options_.directory.string()));
  }
  std::sort(paths.begin(), paths.end());
  absl::Status problem;
  int64_t last = 0;
  for (const std::filesystem::path& path : paths) {
    Segment segment{0, 0, 0, path};
    if (problem.ok()) {
      problem = ReadRecords(path, segment.bytes, [&](std::string_view payload) {
        v1::WorkerEvent event;
        const bool next = event.ParseFromArray(payload.data(), static_cast<int>(payload.size())) &&
                          (last == 0 ? event.sequence() > 0 : event.sequence() == last + 1);
        if (!next) return false;
        last = event.sequence();
        if (segment.first == 0) segment.first = last;
        segment.last = last;
        return true;
      });
      if (!problem.ok() && !absl::IsDataLoss(problem)) return problem;
    }
    const auto size = static_cast<int64_t>(std::filesystem::file_size(path, error));
    if (problem.ok() && segment.bytes < size) {
      problem = absl::DataLossError(absl::StrCat(path.string(), " at byte ", segment.bytes,
                                                 ": a record that does not follow"));
    }
    if (segment.bytes < size) {
      spdlog::warn("spool: {} bytes at the end of {} are cut off ({})", size - segment.bytes,
                   path.string(), problem.ToString());
    }
    if (segment.first == 0) {
      std::filesystem::remove(path, error);
      continue;
    }
    if (segment.bytes < size && ::truncate(path.c_str(), segment.bytes) != 0) {
      return ErrnoToStatus(errno, absl::StrCat("cannot truncate ", path.string()));
    }
    bytes_ += segment.bytes;
    segments_.push_back(std::move(segment));
  }
  if (segments_.empty()) return absl::OkStatus();
  active_ = FileDescriptor(::open(segments_.back().path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!active_.valid() || ::fsync(active_.get()) != 0) {
    return ErrnoToStatus(errno, absl::StrCat("cannot open ", segments_.back().path.string()));
  }
  const absl::MutexLock lock(&mutex_);
  last_ = last;
  acknowledged_ = segments_.front().first - 1;
  return absl::OkStatus();
}

bool Spool::IsThinnedOut(const v1::WorkerEvent& event) const {
  if (!event.has_trainer() || !event.trainer().has_step()) return false;
  if (bytes_ < options_.limit_bytes / 2) return false;
  return bytes_ >= options_.limit_bytes || event.trainer().step().step() % 10 != 0;
}

int64_t Spool::Append(v1::WorkerEvent event) {
  if (IsThinnedOut(event)) {
    ++thinned_;
    return 0;
  }
  const absl::MutexLock lock(&mutex_);
  event.set_sequence(++last_);
  std::string record = EncodeRecord(event.SerializeAsString());
  bytes_ += static_cast<int64_t>(record.size());
  pending_.push_back({last_, std::move(record)});
  return last_;
}

absl::Status Spool::Sync() {
  const absl::MutexLock disk_lock(&disk_mutex_);
  absl::Status status = WritePending();
  refused_ = !status.ok();
  return status;
}

absl::Status Spool::WritePending() {
  const int64_t goal = last_sequence();
  while (true) {
    std::string records;
    int64_t first = 0;
    int64_t last = 0;
    {
      const absl::MutexLock lock(&mutex_);
      for (const Pending& pending : pending_) {
        if (pending.sequence > goal || records.size() >= kMaxWriteBytes) break;
        if (first == 0) first = pending.sequence;
        last = pending.sequence;
        records += pending.record;
      }
    }
    if (records.empty()) return absl::OkStatus();
    if (segments_.empty() || segments_.back().bytes >= options_.segment_bytes ||
        segments_.back().last + 1 != first) {
      WF_RETURN_IF_ERROR(OpenSegment(first));
    }
    WF_RETURN_IF_ERROR(WriteToSegment(records));
    segments_.back().last = last;
    const absl::MutexLock lock(&mutex_);
    while (!pending_.empty() && pending_.front().sequence <= last) pending_.pop_front();
  }
}

absl::Status Spool::OpenSegment(int64_t first) {
  Segment segment{first, first - 1, 0, SegmentPath(options_.directory, first)};
  FileDescriptor fd(::open(segment.path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!fd.valid())
    return ErrnoToStatus(errno, absl::StrCat("cannot create ", segment.path.string()));
  WF_RETURN_IF_ERROR(SyncDirectory(options_.directory));
  active_ = std::move(fd);
  segments_.push_back(std::move(segment));
  return absl::OkStatus();
}

absl::Status Spool::WriteToSegment(const std::string& records) {
  Segment& segment = segments_.back();
  const auto fail = [&](int error) {
    // What may have been written is written again the next time.
    if (::ftruncate(active_.get(), segment.bytes) != 0) {
      spdlog::warn("spool: cannot truncate {}", segment.path.string());
    }
    return ErrnoToStatus(error, absl::StrCat("cannot write ", segment.path.string()));
  };
  for (size_t done = 0; done < records.size();) {
    const ssize_t put = ::pwrite(active_.get(), records.data() + done, records.size() - done,
                                 segment.bytes + static_cast<int64_t>(done));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return fail(errno);
    done += static_cast<size_t>(put);
  }
  if (::fsync(active_.get()) != 0) return fail(errno);
  segment.bytes += static_cast<int64_t>(records.size());
  return absl::OkStatus();
}

std::vector<v1::WorkerEvent> Spool::Read(int64_t after, int max_events, int64_t max_bytes) {
  const absl::MutexLock disk_lock(&disk_mutex_);
  std::vector<v1::WorkerEvent> events;
  int64_t next = after + 1;
  int64_t bytes = 0;
  // Takes a record's payload if it is the one to come; false when the batch is full.
  const auto take = [&](std::string_view payload) {
    if (static_cast<int>(events.size()) >= max_events || bytes >= max_bytes) return false;
    v1::WorkerEvent event;
    WF_CHECK(event.ParseFromArray(payload.data(), static_cast<int>(payload.size())));
    if (event.sequence() != next) return true;
    bytes += static_cast<int64_t>(payload.size());
    events.push_back(std::move(event));
    ++next;
    return true;
  };
  for (const Segment& segment : segments_) {
    if (segment.last < next) continue;
    int64_t offset = 0;
    if (cursor_.segment_first == segment.first && cursor_.sequence == next) {
      offset = cursor_.offset;
    }
    const absl::Status status = ReadRecords(segment.path, offset, take);
    if (!status.ok()) {
      spdlog::error("spool: events {} to {} are lost: {}", next, segment.last, status.ToString());
      for (; next <= segment.last; ++next) events.emplace_back().set_sequence(next);
    }
    cursor_ = {next, segment.first, offset};
    if (segment.last >= next) return events;
  }
  if (!refused_) return events;
  const absl::MutexLock lock(&mutex_);
  for (const Pending& pending : pending_) {
    if (!take(std::string_view(pending.record).substr(kRecordHeaderBytes))) break;
  }
  return events;
}

void Spool::Acknowledge(int64_t sequence) {
  const absl::MutexLock disk_lock(&disk_mutex_);
  const absl::MutexLock lock(&mutex_);
  acknowledged_ = std::max(acknowledged_, std::min(sequence, last_));
  [[maybe_unused]] const ssize_t put =
      ::pwrite(mark_.get(), &acknowledged_, sizeof(acknowledged_), 0);
  bool gap = false;  // behind what is on disk, were it kept
  while (!pending_.empty() && pending_.front().sequence <= acknowledged_) {
    gap = true;
    bytes_ -= static_cast<int64_t>(pending_.front().record.size());
    pending_.pop_front();
  }
  while (!segments_.empty() && segments_.front().last <= acknowledged_) {
    const bool active = segments_.size() == 1;
    if (active && !gap && segments_.front().bytes < options_.segment_bytes) break;
    std::error_code ignored;
    std::filesystem::remove(segments_.front().path, ignored);
    bytes_ -= segments_.front().bytes;
    segments_.pop_front();
    if (active) active_.Close();
  }
}

bool Spool::WaitForEvent(int64_t after, absl::Duration timeout) {
  const absl::MutexLock lock(&mutex_);
  const auto ready = [&]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return woken_ || last_ > after; };
  mutex_.AwaitWithTimeout(absl::Condition(&ready), timeout);
  woken_ = false;
  return last_ > after;
}

void Spool::Wake() {
  const absl::MutexLock lock(&mutex_);
  woken_ = true;
}

int64_t Spool::acknowledged() const {
  const absl::MutexLock lock(&mutex_);
  return acknowledged_;
}

int64_t Spool::last_sequence() const {
  const absl::MutexLock lock(&mutex_);
  return last_;
}

int64_t Spool::thinned() const { return thinned_; }

}  // namespace wavefield
