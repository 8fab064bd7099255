#include "core/comm/nccl.h"

#include <cuda_runtime_api.h>
#include <fmt/format.h>
#include <nccl.h>

#include <cstdlib>
#include <cstring>
#include <mutex>
#include <thread>
#include <utility>

#include "core/backend/cuda/module/cuda_status.h"
#include "core/backend/cuda/stream.h"
#include "core/base/check.h"
#include "core/base/clock.h"
#include "core/base/status_macros.h"

namespace wavefield {
namespace {

constexpr char kIdKey[] = "nccl/id";
constexpr absl::Duration kFinalizeTimeout = absl::Seconds(10);

absl::Duration Now() { return Clock::Real().Monotonic(); }

// ABORTED when it is a peer that failed.
absl::Status ToStatus(ncclResult_t result, ncclComm_t communicator, const std::string& what) {
  return absl::Status(
      result == ncclRemoteError ? absl::StatusCode::kAborted : absl::StatusCode::kInternal,
      fmt::format("{}: NCCL: {} ({})", what, ncclGetErrorString(result),
                  ncclGetLastError(communicator)));
}

// Between looks at something that takes microseconds as a rule, and sometimes much longer.
class Pause {
 public:
  void Wait() {
    if (++rounds_ < 1000) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
  }

 private:
  int rounds_ = 0;
};

// Events without times: they order streams.
class Event {
 public:
  Event() { WF_CUDA(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming)); }
  ~Event() { WF_CUDA(cudaEventDestroy(event_)); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  operator cudaEvent_t() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

class NcclCommunicator final : public Communicator {
 public:
  NcclCommunicator(const NcclOptions& options, cudaStream_t compute)
      : rank_(options.rank),
        world_size_(options.world_size),
        timeout_(options.operation_timeout),
        compute_(compute) {
    WF_CUDA(cudaMalloc(&token_, sizeof(float)));
    WF_CUDA(cudaMemsetAsync(token_, 0, sizeof(float), stream_));
  }

  ~NcclCommunicator() override {
    if (communicator_ != nullptr) Close();
    stream_.Synchronize();
    WF_CUDA(cudaFree(token_));
  }

  // Called once, first.
  absl::Status Connect(const NcclOptions& options, const ncclUniqueId& id) {
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    const std::string what = fmt::format("rank {} of {} joins the NCCL group", rank_, world_size_);
    const ncclResult_t begun =
        ncclCommInitRankConfig(&communicator_, world_size_, id, rank_, &config);
    if (begun != ncclSuccess && begun != ncclInProgress)
      return Fail(ToStatus(begun, nullptr, what));
    return AwaitAccepted(what, "connect_timeout", options.connect_timeout, options.cancel);
  }

  int rank() const override { return rank_; }
  int world_size() const override { return world_size_; }
  bool overlaps() const override { return true; }

  absl::Status AllReduceSum(std::span<float> data) override {
    WF_RETURN_IF_ERROR(BeginAllReduceSum(data));
    return Finish();
  }
  absl::Status AllReduceSum(std::span<double> data) override {
    WF_RETURN_IF_ERROR(Begin("all-reduce", [&] {
      return ncclAllReduce(data.data(), data.data(), data.size(), ncclFloat64, ncclSum,
                           communicator_, stream_);
    }));
    return Finish();
  }
  absl::Status BeginAllReduceSum(std::span<float> data) override {
    return Begin("all-reduce", [&] {
      return ncclAllReduce(data.data(), data.data(), data.size(), ncclFloat32, ncclSum,
                           communicator_, stream_);
    });
  }
  absl::Status Broadcast(std::span<float> data, int root) override {
    WF_CHECK(0 <= root && root < world_size_);
    WF_RETURN_IF_ERROR(Begin("broadcast", [&] {
      return ncclBroadcast(data.data(), data.data(), data.size(), ncclFloat32, root, communicator_,
                           stream_);
    }));
    return Finish();
  }
  absl::Status Barrier() override { return AllReduceSum(std::span<float>(token_, 1)); }

  // Waits on the host, so that what the compute stream is given next comes after it.
  absl::Status Finish() override {
    if (absl::Status failure = Failure(); !failure.ok()) return Fail(std::move(failure));
    if (absl::Status status = WF_CUDA_STATUS(cudaEventRecord(done_, stream_)); !status.ok()) {
      return Fail(std::move(status));
    }
    const absl::Duration deadline = Now() + timeout_;
    for (Pause pause;; pause.Wait()) {
      if (absl::Status failure = Failure(); !failure.ok()) return Fail(std::move(failure));
      const cudaError_t done = cudaEventQuery(done_);
      if (done != cudaSuccess && done != cudaErrorNotReady) {
        return Fail(cuda::ToStatus(done, "cudaEventQuery"));
      }
      // Asked for last: a collective that failed is done, too.
      ncclResult_t state = ncclSuccess;
      ncclCommGetAsyncError(communicator_, &state);
      if (state != ncclSuccess && state != ncclInProgress) {
        return Fail(ToStatus(state, communicator_, Where("a collective")));
      }
      if (done == cudaSuccess) return absl::OkStatus();
      if (Now() > deadline) return Fail(Late(Where("a collective"), "operation_timeout", timeout_));
    }
  }

  // The thread that drives the communicator sees it at its next look, and wakes NCCL.
  void Abort(std::string reason) override {
    const std::lock_guard lock(mutex_);
    if (failure_.ok()) failure_ = absl::AbortedError(std::move(reason));
  }

 private:
  std::string Where(const char* what) const {
    return fmt::format("{} on rank {} of {}", what, rank_, world_size_);
  }

  static absl::Status Late(const std::string& what, const char* limit, absl::Duration timeout) {
    return absl::DeadlineExceededError(
        fmt::format("{}: the others did not come within {} ({}); do they run, and do their hosts "
                    "reach each other?",
                    what, absl::FormatDuration(timeout), limit));
  }

  absl::Status Failure() {
    const std::lock_guard lock(mutex_);
    return failure_;
  }

  // Ends NCCL's work, pending or not; the first failure stays.
  absl::Status Fail(absl::Status failure) {
    if (communicator_ != nullptr) ncclCommAbort(std::exchange(communicator_, nullptr));
    const std::lock_guard lock(mutex_);
    if (failure_.ok()) failure_ = std::move(failure);
    return failure_;
  }

  template <typename Operation>
  absl::Status Begin(const char* name, const Operation& operation) {
    if (absl::Status failure = Failure(); !failure.ok()) return Fail(std::move(failure));
    absl::Status ordered = WF_CUDA_STATUS(cudaEventRecord(ready_, compute_));
    if (ordered.ok()) ordered = WF_CUDA_STATUS(cudaStreamWaitEvent(stream_, ready_, 0));
    if (!ordered.ok()) return Fail(std::move(ordered));
    const ncclResult_t begun = operation();
    if (begun != ncclSuccess && begun != ncclInProgress) {
      return Fail(ToStatus(begun, communicator_, Where(name)));
    }
    return AwaitAccepted(Where(name), "operation_timeout", timeout_, {});
  }

  // Until the communicator takes another call.
  absl::Status AwaitAccepted(const std::string& what, const char* limit, absl::Duration timeout,
                             const std::stop_token& cancel) {
    const absl::Duration deadline = Now() + timeout;
    for (Pause pause;; pause.Wait()) {
      ncclResult_t state = ncclInternalError;
      ncclCommGetAsyncError(communicator_, &state);
      if (state == ncclSuccess) return absl::OkStatus();
      if (state != ncclInProgress) return Fail(ToStatus(state, communicator_, what));
      if (absl::Status failure = Failure(); !failure.ok()) return Fail(std::move(failure));
      if (cancel.stop_requested()) return Fail(absl::AbortedError(what + ": cancelled"));
      if (Now() > deadline) return Fail(Late(what, limit, timeout));
    }
  }

  // In an orderly way where the others do the same.
  void Close() {
    if (!Failure().ok() || cudaStreamQuery(stream_) != cudaSuccess) {
      ncclCommAbort(communicator_);
      return;
    }
    ncclResult_t state = ncclCommFinalize(communicator_);
    const absl::Duration deadline = Now() + kFinalizeTimeout;
    for (Pause pause; state == ncclInProgress && Now() < deadline; pause.Wait()) {
      ncclCommGetAsyncError(communicator_, &state);
    }
    state == ncclSuccess ? ncclCommDestroy(communicator_) : ncclCommAbort(communicator_);
  }

  const int rank_;
  const int world_size_;
  const absl::Duration timeout_;
  const cudaStream_t compute_;
  cuda::Stream stream_{cuda::Stream::kHighestPriority};  // not behind the backward pass's kernels
  Event ready_;  // what the compute stream was given is done
  Event done_;   // what this stream was given is done
  float* token_ = nullptr;
  ncclComm_t communicator_ = nullptr;  // null: failed

  std::mutex mutex_;
  absl::Status failure_;
};

absl::StatusOr<ncclUniqueId> AgreeOnId(const NcclOptions& options, RendezvousStore& store) {
  ncclUniqueId id;
  if (options.rank == 0) {
    const ncclResult_t made = ncclGetUniqueId(&id);
    if (made != ncclSuccess) return ToStatus(made, nullptr, "ncclGetUniqueId");
    WF_RETURN_IF_ERROR(store.Set(kIdKey, std::string(id.internal, sizeof(id.internal))));
    return id;
  }
  WF_ASSIGN_OR_RETURN(const std::string bytes, store.Wait(kIdKey, options.connect_timeout));
  if (bytes.size() != sizeof(id.internal)) {
    return absl::FailedPreconditionError(
        fmt::format("rank 0 published an NCCL id of {} bytes, expected {}: the ranks use different "
                    "versions",
                    bytes.size(), sizeof(id.internal)));
  }
  std::memcpy(id.internal, bytes.data(), bytes.size());
  return id;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Communicator>> MakeNcclCommunicator(const NcclOptions& options,
                                                                   RendezvousStore& store,
                                                                   void* compute_stream) {
  WF_CHECK(0 <= options.rank && options.rank < options.world_size);
  // The order in which NVLink switches add up differs from call to call.
  setenv("NCCL_NVLS_ENABLE", "0", /*overwrite=*/0);
  WF_ASSIGN_OR_RETURN(const ncclUniqueId id, AgreeOnId(options, store));
  auto communicator =
      std::make_unique<NcclCommunicator>(options, static_cast<cudaStream_t>(compute_stream));
  WF_RETURN_IF_ERROR(communicator->Connect(options, id));
  return communicator;
}

}  // namespace wavefield
