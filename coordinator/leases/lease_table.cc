#include "coordinator/leases/lease_table.h"

#include <fmt/format.h>

#include "coordinator/jobs/timestamps.h"

namespace wavefield::coordinator {

void LeaseTable::Grant(const std::string& worker, const std::string& incarnation) {
  std::lock_guard lock(mutex_);
  leases_[worker] = {incarnation, true, lease_, clock_.Monotonic(), {}};
}

void LeaseTable::Revoke(const std::string& worker) {
  std::lock_guard lock(mutex_);
  leases_.erase(worker);
}

void LeaseTable::Expect(const std::string& worker, const std::string& incarnation) {
  std::lock_guard lock(mutex_);
  leases_[worker] = {incarnation, false, lease_ * kReattachLeases, clock_.Monotonic(), {}};
}

absl::Status LeaseTable::Renew(const std::string& worker,
                               const wavefield::v1::HeartbeatRequest& heartbeat, absl::Time wall) {
  std::lock_guard lock(mutex_);
  const auto lease = leases_.find(worker);
  if (lease == leases_.end() || !lease->second.registered ||
      lease->second.incarnation != heartbeat.incarnation() ||
      HasExpired(lease->second, clock_.Monotonic())) {
    return absl::NotFoundError(
        fmt::format("workers/{} is not registered with this incarnation: register again", worker));
  }
  lease->second.heard = clock_.Monotonic();
  Heartbeats& heartbeats = lease->second.heartbeats;
  heartbeats.count += 1;
  heartbeats.spool_depth = heartbeat.spool_depth();
  heartbeats.draining = heartbeat.draining();
  heartbeats.gpus.assign(heartbeat.gpus().begin(), heartbeat.gpus().end());
  heartbeats.host = heartbeat.host();
  if (heartbeat.has_worker_time()) {
    heartbeats.clock_difference = FromTimestamp(heartbeat.worker_time()) - wall;
  }
  return absl::OkStatus();
}

bool LeaseTable::IsLive(const std::string& worker, const std::string& incarnation) const {
  std::lock_guard lock(mutex_);
  const auto lease = leases_.find(worker);
  return lease != leases_.end() && lease->second.registered &&
         lease->second.incarnation == incarnation && !HasExpired(lease->second, clock_.Monotonic());
}

bool LeaseTable::TakesWork(const std::string& worker, const std::string& incarnation) const {
  const auto heartbeats = Get(worker, incarnation);
  return heartbeats && !heartbeats->draining && IsLive(worker, incarnation);
}

std::optional<LeaseTable::Heartbeats> LeaseTable::Get(const std::string& worker,
                                                      const std::string& incarnation) const {
  std::lock_guard lock(mutex_);
  const auto lease = leases_.find(worker);
  if (lease == leases_.end() || !lease->second.registered ||
      lease->second.incarnation != incarnation) {
    return std::nullopt;
  }
  return lease->second.heartbeats;
}

absl::Duration LeaseTable::SinceHeartbeat(const std::string& worker) const {
  std::lock_guard lock(mutex_);
  const auto lease = leases_.find(worker);
  return lease == leases_.end() ? absl::InfiniteDuration()
                                : clock_.Monotonic() - lease->second.heard;
}

std::vector<LeaseTable::Expired> LeaseTable::TakeExpired() {
  std::lock_guard lock(mutex_);
  const absl::Duration now = clock_.Monotonic();
  std::vector<Expired> expired;
  for (auto lease = leases_.begin(); lease != leases_.end();) {
    if (HasExpired(lease->second, now)) {
      expired.push_back({lease->first, lease->second.incarnation, now - lease->second.heard,
                         lease->second.heartbeats.draining});
      lease = leases_.erase(lease);
    } else {
      ++lease;
    }
  }
  return expired;
}

}  // namespace wavefield::coordinator
