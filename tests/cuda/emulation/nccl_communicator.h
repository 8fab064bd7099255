#pragma once

#include <nccl.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "tests/cuda/emulation/nccl_channel.h"

namespace wavefield::emulation::nccl {

enum class Kind : int32_t { kAllReduce, kBroadcast, kFinalize };

// What all ranks must agree on. Sent as it lies in memory, without padding.
struct Header {
  Kind kind;
  int32_t type;  // ncclDataType_t
  int32_t root;  // of a broadcast
  int32_t zero;
  int64_t count;
  friend bool operator==(const Header&, const Header&) = default;
};

struct Operation {
  Header header;
  const void* in;
  void* out;
  std::vector<char> data;  // what this rank gives, then what it gets
  bool ready = false;      // the stream has come to it
  bool begun = false;
  bool done = false;
};

// What a unique id holds.
struct Rendezvous {
  uint64_t magic, nonce;
  unsigned short port;
};

// One rank of a group. Every rank is connected to rank 0, which adds in the order of ranks and
// gives the result to all. All calls but the constructor may come from any thread, and none blocks;
// the work is done by whoever calls.
class Communicator {
 public:
  // Rank 0 has the listener that the others know from the rendezvous.
  Communicator(int size, int rank, bool blocking, int device, const Rendezvous& rendezvous,
               Socket listener);

  int size() const { return size_; }
  int rank() const { return rank_; }
  bool blocking() const { return blocking_; }
  int device() const { return device_; }

  // As ncclCommGetAsyncError() tells it.
  ncclResult_t State();
  // Of the first failure; empty without one. Never changes after that.
  std::string Failure();
  // Success if an operation may be added now; then the communicator takes no other before State()
  // has said so. The failure if there was one.
  ncclResult_t Take();
  std::shared_ptr<Operation> Add(const Header& header, const void* in, void* out);
  // To be called when the stream has come to the operation, until it returns true: the operation is
  // done, or the communicator has been aborted. After a failure only an abort ends it.
  bool Attempt(Operation& operation);
  void Finalize();
  void Abort();

 private:
  enum class Phase { kJoining, kOpen, kFinalizing, kFinalized, kAborted };

  void Progress();
  void Join();
  void JoinAsRoot();
  void Step(Operation& operation);
  void StepAsRoot(Operation& operation);
  void Combine(Operation& operation);
  void Fail(ncclResult_t result, std::string reason);
  void Close();

  const int size_, rank_;
  const bool blocking_;
  const int device_;
  const Rendezvous rendezvous_;
  std::mutex mutex_;
  Socket listener_;
  // Of rank 0: to every other rank, by rank (0: null). Of others: the one to rank 0.
  std::vector<std::unique_ptr<Channel>> channels_;
  std::vector<std::unique_ptr<Channel>> strangers_;  // have not said yet who they are
  std::vector<int> devices_;                         // of the ranks of this process that have come
  std::vector<int> stages_;                          // of the operation at the front, by channel
  std::deque<std::shared_ptr<Operation>> operations_;
  Phase phase_ = Phase::kJoining;
  bool taken_ = false;
  ncclResult_t error_ = ncclSuccess;
  std::string failure_;
};

}  // namespace wavefield::emulation::nccl
