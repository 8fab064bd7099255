#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "core/base/clock.h"
#include "wavefield/v1/worker_service.pb.h"

namespace wavefield::coordinator {

// Reconnecting and registering again takes longer than a heartbeat.
inline constexpr int kReattachLeases = 3;

// Which worker processes are alive, by this host's monotonic clock at the receipt of their
// heartbeats. Has a lock of its own that is never held for long: heartbeats wait for nobody.
// Thread-safe.
class LeaseTable {
 public:
  struct Heartbeats {
    int64_t count = 0;                     // since the lease was granted
    int64_t spool_depth = 0;               // as of the last one
    bool draining = false;                 // as of the last one
    std::vector<wavefield::v1::Gpu> gpus;  // as of the last one
    wavefield::v1::HostTelemetry host;     // as of the last one
    // The worker's clock minus this host's at the last one, if the worker told its time.
    std::optional<absl::Duration> clock_difference;
  };
  struct Expired {
    std::string worker;
    std::string incarnation;
    absl::Duration silent_for;
    bool draining;  // it had said that it ends
  };

  LeaseTable(absl::Duration lease, const Clock& clock) : lease_(lease), clock_(clock) {}

  // A worker registered; replaces its lease before.
  void Grant(const std::string& worker, const std::string& incarnation);
  // Nothing is given to the worker until its next lease.
  void Revoke(const std::string& worker);
  // A worker known from before a restart of the coordinator: it has kReattachLeases leases of time
  // to register again.
  void Expect(const std::string& worker, const std::string& incarnation);
  // `wall`: what this host's clock says, for people alone. NOT_FOUND when the worker must register
  // (again).
  absl::Status Renew(const std::string& worker, const wavefield::v1::HeartbeatRequest& heartbeat,
                     absl::Time wall);
  // Registered, and its lease has not run out.
  bool IsLive(const std::string& worker, const std::string& incarnation) const;
  // Live, and not about to end.
  bool TakesWork(const std::string& worker, const std::string& incarnation) const;
  std::optional<Heartbeats> Get(const std::string& worker, const std::string& incarnation) const;
  absl::Duration SinceHeartbeat(const std::string& worker) const;
  // Takes out those that have run out.
  std::vector<Expired> TakeExpired();

  absl::Duration lease() const { return lease_; }

 private:
  struct Lease {
    std::string incarnation;
    bool registered = false;
    absl::Duration granted;  // how long it lasts without a heartbeat
    absl::Duration heard;
    Heartbeats heartbeats;
  };

  static bool HasExpired(const Lease& lease, absl::Duration now) {
    return now - lease.heard > lease.granted;
  }

  const absl::Duration lease_;
  const Clock& clock_;
  mutable std::mutex mutex_;
  std::map<std::string, Lease> leases_;
};

}  // namespace wavefield::coordinator
