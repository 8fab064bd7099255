#include "coordinator/audit/audit_log.h"

#include <spdlog/spdlog.h>

#include "coordinator/jobs/timestamps.h"
#include "core/base/status_macros.h"

namespace wavefield::coordinator {
namespace {

constexpr size_t kMaxWaiting = 4096;
constexpr size_t kMaxRefusalsWaiting = kMaxWaiting / 8;
constexpr absl::Duration kRefusalInterval = absl::Seconds(1);
constexpr size_t kMaxRefusalsRemembered = 4096;

}  // namespace

AuditLog::AuditLog(Store& store, const Clock& clock)
    : store_(store), clock_(clock), thread_([this] { Loop(); }) {}

AuditLog::~AuditLog() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  work_.notify_one();
  thread_.join();
}

void AuditLog::Append(v1::AuditEntry entry, std::function<void(const absl::Status&)> done) {
  *entry.mutable_time() = ToTimestamp(clock_.Now());
  {
    std::lock_guard lock(mutex_);
    if (queue_.size() < kMaxWaiting) {
      queue_.push_back({std::move(entry), std::move(done)});
      work_.notify_one();
      return;
    }
  }
  done(absl::ResourceExhaustedError("too many entries wait for the audit log; try again later"));
}

void AuditLog::AppendRefusal(v1::AuditEntry entry, std::function<void()> done) {
  *entry.mutable_time() = ToTimestamp(clock_.Now());
  {
    std::lock_guard lock(mutex_);
    if (TakesRefusal(entry)) {
      ++refusals_waiting_;
      queue_.push_back(
          {std::move(entry), [done = std::move(done)](const absl::Status&) { done(); }});
      work_.notify_one();
      return;
    }
  }
  done();
}

bool AuditLog::TakesRefusal(const v1::AuditEntry& entry) {
  if (refusals_waiting_ >= kMaxRefusalsWaiting || queue_.size() >= kMaxWaiting) return false;
  const absl::Duration now = clock_.Monotonic();
  if (refusals_.size() >= kMaxRefusalsRemembered) {
    std::erase_if(refusals_,
                  [&](const auto& kept) { return now - kept.second >= kRefusalInterval; });
    if (refusals_.size() >= kMaxRefusalsRemembered) return false;
  }
  const auto [kept, first] = refusals_.try_emplace({entry.principal(), entry.method()}, now);
  if (!first && now - kept->second < kRefusalInterval) return false;
  kept->second = now;
  return true;
}

void AuditLog::Loop() {
  while (true) {
    std::deque<Waiting> group;
    {
      std::unique_lock lock(mutex_);
      work_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
      if (queue_.empty()) return;
      group.swap(queue_);
      refusals_waiting_ = 0;
    }
    const absl::Status written = Write(group);
    if (!written.ok()) {
      spdlog::error("{} entries are missing in the audit log: {}", group.size(),
                    std::string(written.message()));
    }
    for (const Waiting& waiting : group) waiting.done(written);
  }
}

absl::Status AuditLog::Write(std::deque<Waiting>& group) {
  return store_.Write([&](Transaction& transaction) -> absl::Status {
    for (Waiting& waiting : group) {
      WF_RETURN_IF_ERROR(transaction.AddAuditEntry(waiting.entry));
    }
    return absl::OkStatus();
  });
}

}  // namespace wavefield::coordinator
