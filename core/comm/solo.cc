#include <mutex>
#include <utility>

#include "core/base/check.h"
#include "core/comm/communicator.h"

namespace wavefield {
namespace {

class SoloCommunicator final : public Communicator {
 public:
  int rank() const override { return 0; }
  int world_size() const override { return 1; }
  absl::Status AllReduceSum(std::span<float>) override { return Failure(); }
  absl::Status AllReduceSum(std::span<double>) override { return Failure(); }
  absl::Status Broadcast(std::span<float>, int root) override {
    WF_CHECK(root == 0);
    return Failure();
  }
  absl::Status Barrier() override { return Failure(); }

  void Abort(std::string reason) override {
    const std::lock_guard lock(mutex_);
    if (failure_.ok()) failure_ = absl::AbortedError(reason);
  }

 private:
  absl::Status Failure() {
    const std::lock_guard lock(mutex_);
    return failure_;
  }

  std::mutex mutex_;
  absl::Status failure_;
};

}  // namespace

std::unique_ptr<Communicator> MakeSoloCommunicator() {
  return std::make_unique<SoloCommunicator>();
}

}  // namespace wavefield
