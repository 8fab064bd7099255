#pragma once

#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace wavefield {

// Collective operations of the ranks of one attempt. Every rank calls the same operations in the
// same order with equal sizes. One thread drives a communicator; Abort() may come from any other.
// Errors: ABORTED after Abort() or a peer's death, DEADLINE_EXCEEDED when a peer did not come
// within the timeout; after any error every later call fails at once with the same one, and the
// peers that wait for this rank fail too. (A death is noticed at once by the ranks that wait for
// the dead one, and passed on by them; where a hung rank lies between, Abort() on every survivor is
// what helps.)
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int world_size() const = 0;

  // data = sum over the ranks; the same bits on every rank, and on every run.
  virtual absl::Status AllReduceSum(std::span<float> data) = 0;
  virtual absl::Status AllReduceSum(std::span<double> data) = 0;
  // Begins an AllReduceSum() and may return before it is done: `data` is left alone until Finish(),
  // which waits for all that were begun.
  virtual absl::Status BeginAllReduceSum(std::span<float> data) { return AllReduceSum(data); }
  virtual absl::Status Finish() { return absl::OkStatus(); }
  // Whether what was begun goes on beside the caller's work.
  virtual bool overlaps() const { return false; }
  virtual absl::Status Broadcast(std::span<float> data, int root) = 0;
  virtual absl::Status Barrier() = 0;

  // Wakes a pending operation within milliseconds and makes it and all later ones fail with ABORTED
  // and this reason. Thread-safe; the first call counts.
  virtual void Abort(std::string reason) = 0;
};

// Where the ranks of one attempt find each other: keys are written once and read by waiting.
// Thread-safe.
class RendezvousStore {
 public:
  virtual ~RendezvousStore() = default;
  virtual absl::Status Set(const std::string& key, const std::string& value) = 0;
  // DEADLINE_EXCEEDED when the key did not appear in time.
  virtual absl::StatusOr<std::string> Wait(const std::string& key, absl::Duration timeout) = 0;
};

struct GlooOptions {
  int rank = 0;
  int world_size = 1;
  std::string address = "127.0.0.1";  // the address this host is reached at
  absl::Duration connect_timeout = absl::Seconds(60);
  absl::Duration operation_timeout = absl::Minutes(5);  // bounds a silent peer only: deaths abort
  std::stop_token cancel;  // ends a pending connect within milliseconds, with ABORTED
};

// Over TCP with Gloo. `store` is used during the call only; while the call waits there, `cancel`
// and `connect_timeout` count only as far as the store's Wait() honours its timeout and ends early
// by itself. Fails with DEADLINE_EXCEEDED, naming the peer, when one does not come in time. Makes
// the process ignore SIGPIPE. Neither encrypts nor authenticates: for networks that are trusted.
absl::StatusOr<std::unique_ptr<Communicator>> MakeGlooCommunicator(const GlooOptions& options,
                                                                   RendezvousStore& store);

// Ranks as threads of this process.
std::vector<std::unique_ptr<Communicator>> MakeInProcessCommunicators(int world_size);

// A group of one: every operation succeeds at once.
std::unique_ptr<Communicator> MakeSoloCommunicator();

}  // namespace wavefield
