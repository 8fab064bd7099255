#include "tests/cuda/emulation/nccl_communicator.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace wavefield::emulation::nccl {
namespace {

struct Hello {
  uint64_t nonce;
  int32_t size, rank, process, device;
};

size_t Bytes(const Header& header) {
  const size_t element = header.type == ncclFloat64 ? 8 : header.type == ncclFloat32 ? 4 : 1;
  return static_cast<size_t>(header.count) * element;
}

// Whether a rank's numbers are part of the result, and whether it gets the result.
bool Gives(const Header& header, int rank) {
  return header.kind == Kind::kAllReduce ||
         (header.kind == Kind::kBroadcast && header.root == rank);
}
bool Gets(const Header& header, int rank) {
  return header.kind != Kind::kBroadcast || header.root != rank;
}

template <typename T>
void AddTo(std::vector<char>& sum, const std::vector<char>& more) {
  for (size_t i = 0; i < sum.size(); i += sizeof(T)) {
    T a, b;
    std::memcpy(&a, &sum[i], sizeof(T));
    std::memcpy(&b, &more[i], sizeof(T));
    a += b;
    std::memcpy(&sum[i], &a, sizeof(T));
  }
}

std::string ToString(const Header& header) {
  constexpr const char* kNames[] = {"all-reduce", "broadcast", "finalize"};
  return fmt::format("{} of {} elements of type {} from root {}",
                     kNames[static_cast<int>(header.kind) % 3], header.count, header.type,
                     header.root);
}

}  // namespace

Communicator::Communicator(int size, int rank, bool blocking, int device,
                           const Rendezvous& rendezvous, Socket listener)
    : size_(size),
      rank_(rank),
      blocking_(blocking),
      device_(device),
      rendezvous_(rendezvous),
      listener_(std::move(listener)),
      channels_(static_cast<size_t>(rank == 0 ? size : 1)),
      devices_{device},
      stages_(channels_.size(), 0) {
  if (rank == 0) return;
  Socket connection = Connect(rendezvous.port);
  if (!connection.valid()) {
    Fail(ncclSystemError, "no connection to rank 0");
    return;
  }
  channels_[0] = std::make_unique<Channel>(std::move(connection));
  const Hello hello{rendezvous.nonce, size, rank, getpid(), device};
  channels_[0]->Send(&hello, sizeof(hello));
  channels_[0]->Expect(1);
}

ncclResult_t Communicator::State() {
  const std::lock_guard lock(mutex_);
  Progress();
  if (error_ != ncclSuccess) return error_;
  if (phase_ == Phase::kJoining || phase_ == Phase::kFinalizing) return ncclInProgress;
  return std::exchange(taken_, false) ? ncclInProgress : ncclSuccess;
}

std::string Communicator::Failure() {
  const std::lock_guard lock(mutex_);
  return failure_;
}

ncclResult_t Communicator::Take() {
  const std::lock_guard lock(mutex_);
  if (error_ != ncclSuccess) return error_;
  if (phase_ != Phase::kOpen || taken_) return ncclInvalidArgument;
  taken_ = !blocking_;
  return ncclSuccess;
}

std::shared_ptr<Operation> Communicator::Add(const Header& header, const void* in, void* out) {
  auto operation = std::make_shared<Operation>(Operation{header, in, out, {}});
  const std::lock_guard lock(mutex_);
  operations_.push_back(operation);
  return operation;
}

bool Communicator::Attempt(Operation& operation) {
  const std::lock_guard lock(mutex_);
  if (phase_ == Phase::kAborted) return true;
  const Header& header = operation.header;
  if (!operation.ready) {
    const char* const in = static_cast<const char*>(operation.in);
    if (Gives(header, rank_)) operation.data.assign(in, in + Bytes(header));
    operation.ready = true;
  }
  if (!operation.done) Progress();
  if (!operation.done) return false;
  std::copy(operation.data.begin(), operation.data.end(), static_cast<char*>(operation.out));
  return true;
}

void Communicator::Finalize() {
  const Header header{Kind::kFinalize, ncclInt8, 0, 0, 1};
  auto operation = std::make_shared<Operation>(Operation{header, nullptr, nullptr, {}});
  operation->ready = true;
  const std::lock_guard lock(mutex_);
  operations_.push_back(std::move(operation));
  phase_ = Phase::kFinalizing;
}

void Communicator::Abort() {
  const std::lock_guard lock(mutex_);
  phase_ = Phase::kAborted;
  operations_.clear();
  Close();
}

void Communicator::Progress() {
  if (error_ != ncclSuccess || phase_ == Phase::kAborted || phase_ == Phase::kFinalized) return;
  if (phase_ == Phase::kJoining) return rank_ == 0 ? JoinAsRoot() : Join();
  while (!operations_.empty() && operations_.front()->ready) {
    const std::shared_ptr<Operation> front = operations_.front();
    rank_ == 0 ? StepAsRoot(*front) : Step(*front);
    if (!front->done) return;
    operations_.pop_front();
    if (front->header.kind == Kind::kFinalize) {
      phase_ = Phase::kFinalized;
      return Close();
    }
  }
  for (size_t rank = 0; rank < channels_.size(); ++rank) {
    if (channels_[rank] != nullptr && !channels_[rank]->Move()) {
      return Fail(ncclRemoteError, fmt::format("rank {} is gone", rank));
    }
  }
}

void Communicator::Join() {
  const bool alive = channels_[0]->Move();
  if (channels_[0]->received()) {
    phase_ = Phase::kOpen;
  } else if (!alive) {
    Fail(ncclRemoteError, "rank 0 is gone, or does not accept this rank");
  }
}

void Communicator::JoinAsRoot() {
  for (Socket socket = Accept(listener_); socket.valid(); socket = Accept(listener_)) {
    strangers_.push_back(std::make_unique<Channel>(std::move(socket)));
    strangers_.back()->Expect(sizeof(Hello));
  }
  for (auto& stranger : strangers_) {
    const bool alive = stranger->Move();
    if (!stranger->received()) {
      if (!alive) stranger.reset();
      continue;
    }
    Hello hello;
    std::memcpy(&hello, stranger->in().data(), sizeof(hello));
    if (hello.nonce != rendezvous_.nonce) {
      stranger.reset();
      continue;
    }
    if (hello.size != size_ || hello.rank < 1 || hello.rank >= size_ ||
        channels_[hello.rank] != nullptr) {
      return Fail(ncclInvalidArgument,
                  fmt::format("rank {} of {} comes to a group of {}, {}", hello.rank, hello.size,
                              size_, "or comes twice"));
    }
    channels_[hello.rank] = std::move(stranger);
    if (hello.process == getpid()) devices_.push_back(hello.device);
  }
  std::erase(strangers_, nullptr);
  for (int rank = 1; rank < size_; ++rank) {
    if (channels_[rank] == nullptr) return;
    if (!channels_[rank]->Move()) {
      return Fail(ncclRemoteError, fmt::format("rank {} is gone", rank));
    }
  }
  std::sort(devices_.begin(), devices_.end());
  if (std::adjacent_find(devices_.begin(), devices_.end()) != devices_.end()) {
    return Fail(ncclInvalidUsage, "two ranks of this process have the same device");
  }
  phase_ = Phase::kOpen;
  listener_.Close();
  for (int rank = 1; rank < size_; ++rank) {
    channels_[rank]->Send("w", 1);
    channels_[rank]->Expect(0);
    channels_[rank]->Move();
  }
}

void Communicator::Step(Operation& operation) {
  Channel& channel = *channels_[0];
  const Header& header = operation.header;
  if (!operation.begun) {
    channel.Send(&header, sizeof(header));
    if (Gives(header, rank_)) channel.Send(operation.data.data(), operation.data.size());
    channel.Expect(Gets(header, rank_) ? Bytes(header) : 0);
    operation.begun = true;
  }
  const bool alive = channel.Move();
  if (channel.sent() && channel.received()) {
    if (Gets(header, rank_)) operation.data = channel.in();
    operation.done = true;
  } else if (!alive) {
    Fail(ncclRemoteError, "rank 0 is gone");
  }
}

void Communicator::StepAsRoot(Operation& operation) {
  enum Stage { kHeader, kData, kWhole, kResult };
  const Header& header = operation.header;
  if (!operation.begun) {
    for (int rank = 1; rank < size_; ++rank) {
      channels_[rank]->Expect(sizeof(Header));
      stages_[rank] = kHeader;
    }
    operation.data.resize(Bytes(header));
    operation.begun = true;
  }
  for (int rank = 1; rank < size_; ++rank) {
    Channel& channel = *channels_[rank];
    bool alive = channel.Move();
    if (stages_[rank] == kHeader && channel.received()) {
      Header theirs;
      std::memcpy(&theirs, channel.in().data(), sizeof(theirs));
      if (!(theirs == header)) {
        return Fail(ncclInvalidUsage, fmt::format("rank 0 calls {}, rank {} {}", ToString(header),
                                                  rank, ToString(theirs)));
      }
      stages_[rank] = kData;
      if (Gives(header, rank)) {
        channel.Expect(Bytes(header));
        alive = channel.Move();
      }
    }
    if (stages_[rank] == kData && channel.received()) stages_[rank] = kWhole;
    if (!alive && !(stages_[rank] == kResult && channel.sent())) {
      return Fail(ncclRemoteError, fmt::format("rank {} is gone", rank));
    }
  }
  const auto first = stages_.begin() + 1;
  if (std::all_of(first, stages_.end(), [](int stage) { return stage == kWhole; })) {
    Combine(operation);
    for (int rank = 1; rank < size_; ++rank) {
      if (Gets(header, rank)) {
        channels_[rank]->Send(operation.data.data(), operation.data.size());
      }
      stages_[rank] = kResult;
      channels_[rank]->Move();
    }
  }
  operation.done = std::all_of(first, stages_.end(), [](int stage) { return stage == kResult; }) &&
                   std::all_of(channels_.begin() + 1, channels_.end(),
                               [](const auto& channel) { return channel->sent(); });
}

void Communicator::Combine(Operation& operation) {
  const Header& header = operation.header;
  for (int rank = 1; rank < size_; ++rank) {
    if (!Gives(header, rank)) continue;
    const std::vector<char>& theirs = channels_[rank]->in();
    if (header.kind == Kind::kBroadcast) {
      operation.data = theirs;
    } else if (header.type == ncclFloat64) {
      AddTo<double>(operation.data, theirs);
    } else {
      AddTo<float>(operation.data, theirs);
    }
  }
}

void Communicator::Fail(ncclResult_t result, std::string reason) {
  error_ = result;
  failure_ = std::move(reason);
  Close();
}

void Communicator::Close() {
  listener_.Close();
  strangers_.clear();
  for (auto& channel : channels_) channel.reset();
}

}  // namespace wavefield::emulation::nccl
