#include <gloo/transport/tcp/device.h>
#include <netdb.h>
#include <signal.h>
#include <sys/socket.h>

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/base/check.h"
#include "core/base/clock.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "core/comm/communicator.h"
#include "core/comm/segments.h"

namespace wavefield {
namespace {

namespace transport = gloo::transport;

// Rounded up: what ends after so long ends past the deadline.
std::chrono::milliseconds Remaining(absl::Duration deadline) {
  const absl::Duration left =
      absl::Ceil(deadline - Clock::Real().Monotonic(), absl::Milliseconds(1));
  return absl::ToChronoMilliseconds(std::clamp(left, absl::Milliseconds(1), absl::Hours(24)));
}

bool IsPast(absl::Duration deadline) { return Clock::Real().Monotonic() >= deadline; }

// Fails everything that is pending or comes later on any connection of `context`, here and, as the
// sockets are closed, at the peers. This is what Gloo does when an operation times out, and the
// only way it offers to do it from another thread: so a receive that nobody answers is let time
// out.
void CloseConnections(transport::Context& context) {
  char byte = 0;
  try {
    context.createUnboundBuffer(&byte, 1)->waitRecv(nullptr, std::chrono::milliseconds(1));
  } catch (const std::exception&) {
  }
}

// Gloo writes to sockets without MSG_NOSIGNAL.
void IgnoreSigpipe() {
  struct sigaction action {};
  if (::sigaction(SIGPIPE, nullptr, &action) == 0 && action.sa_handler == SIG_DFL) {
    ::signal(SIGPIPE, SIG_IGN);
  }
}

// Gloo's own report of an address that cannot be bound names neither it nor the reason.
absl::Status CheckAddress(const std::string& address) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(address.c_str(), nullptr, &hints, &found);
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, ::freeaddrinfo);
  if (error != 0) return absl::UnavailableError(::gai_strerror(error));
  for (const addrinfo* info = found; info != nullptr; info = info->ai_next) {
    const FileDescriptor fd(
        ::socket(info->ai_family, info->ai_socktype | SOCK_CLOEXEC, info->ai_protocol));
    if (fd.valid() && ::bind(fd.get(), info->ai_addr, info->ai_addrlen) == 0) {
      return absl::OkStatus();
    }
  }
  return absl::UnavailableError("no network interface of this host has it");
}

class GlooCommunicator final : public Communicator {
 public:
  GlooCommunicator(const GlooOptions& options, std::shared_ptr<transport::Context> context)
      : rank_(options.rank),
        world_size_(options.world_size),
        timeout_(options.operation_timeout),
        context_(std::move(context)) {}

  int rank() const override { return rank_; }
  int world_size() const override { return world_size_; }

  absl::Status AllReduceSum(std::span<float> data) override {
    return Run("all-reduce", [&] { RingSum(data); });
  }
  absl::Status AllReduceSum(std::span<double> data) override {
    return Run("all-reduce", [&] { RingSum(data); });
  }
  absl::Status Broadcast(std::span<float> data, int root) override {
    WF_CHECK(0 <= root && root < world_size_);
    return Run("broadcast", [&] { TreeBroadcast(data.data(), data.size_bytes(), root); });
  }
  absl::Status Barrier() override {
    return Run("barrier", [&] { Disseminate(); });
  }

  void Abort(std::string reason) override {
    if (Fail(absl::AbortedError(reason))) CloseConnections(*context_);
  }

 private:
  static constexpr int kNobody = -1;

  // False if it had failed before.
  bool Fail(absl::Status failure) {
    const std::lock_guard lock(mutex_);
    if (!failure_.ok()) return false;
    failure_ = std::move(failure);
    return true;
  }

  absl::Status Failure() {
    const std::lock_guard lock(mutex_);
    return failure_;
  }

  template <typename Operation>
  absl::Status Run(const char* name, const Operation& operation) {
    if (absl::Status failure = Failure(); !failure.ok()) return failure;
    deadline_ = Clock::Real().Monotonic() + timeout_;
    ++operation_;
    try {
      operation();
      return absl::OkStatus();
    } catch (const std::exception& error) {
      const std::string where = absl::StrCat(name, " on rank ", rank_, " of ", world_size_,
                                             ", waiting for rank ", awaited_);
      const bool late = IsPast(deadline_);
      if (Fail(late ? absl::DeadlineExceededError(absl::StrCat(where, ": it did not come within ",
                                                               absl::FormatDuration(timeout_),
                                                               " (operation_timeout)"))
                    : absl::AbortedError(
                          absl::StrCat(where, ": lost the connection: ", error.what())))) {
        CloseConnections(*context_);
      }
      return Failure();
    }
  }

  // Sends to one rank while receiving from another; an empty side is left out.
  void Exchange(const void* outgoing, size_t outgoing_bytes, int to, void* incoming,
                size_t incoming_bytes, int from) {
    auto receiver = context_->createUnboundBuffer(incoming, incoming_bytes);
    auto sender = context_->createUnboundBuffer(const_cast<void*>(outgoing), outgoing_bytes);
    awaited_ = incoming_bytes > 0 ? from : to;
    if (incoming_bytes > 0) receiver->recv(from, operation_);
    if (outgoing_bytes > 0) sender->send(to, operation_);
    if (incoming_bytes > 0) receiver->waitRecv(nullptr, Remaining(deadline_));
    awaited_ = to;
    if (outgoing_bytes > 0) sender->waitSend(nullptr, Remaining(deadline_));
  }

  // Reduce-scatter, then all-gather, around the ring.
  template <typename T>
  void RingSum(std::span<T> data) {
    const int n = world_size_, right = (rank_ + 1) % n, left = (rank_ + n - 1) % n;
    const auto segment = [&](int index) {
      const int s = ((index % n) + n) % n;
      const size_t begin = SegmentBegin(data.size(), n, s);
      return data.subspan(begin, SegmentBegin(data.size(), n, s + 1) - begin);
    };
    scratch_.resize((data.size() / static_cast<size_t>(n) + 1) * sizeof(T));
    for (int hop = 0; hop < n - 1; ++hop) {
      const std::span<T> out = segment(rank_ - hop), in = segment(rank_ - hop - 1);
      T* const received = reinterpret_cast<T*>(scratch_.data());
      Exchange(out.data(), out.size_bytes(), right, received, in.size_bytes(), left);
      for (size_t i = 0; i < in.size(); ++i) in[i] += received[i];
    }
    for (int hop = 0; hop < n - 1; ++hop) {
      const std::span<T> out = segment(rank_ + 1 - hop), in = segment(rank_ - hop);
      Exchange(out.data(), out.size_bytes(), right, in.data(), in.size_bytes(), left);
    }
  }

  // A binomial tree.
  void TreeBroadcast(void* data, size_t bytes, int root) {
    const int n = world_size_, position = (rank_ - root + n) % n;
    const auto rank_at = [&](int p) { return (p + root) % n; };
    int stride = 1;
    for (; stride < n; stride *= 2) {
      if (position & stride) {
        Exchange(nullptr, 0, kNobody, data, bytes, rank_at(position - stride));
        break;
      }
    }
    for (stride /= 2; stride > 0; stride /= 2) {
      if (position + stride < n) {
        Exchange(data, bytes, rank_at(position + stride), nullptr, 0, kNobody);
      }
    }
  }

  void Disseminate() {
    for (int distance = 1; distance < world_size_; distance *= 2) {
      char out = 0, in = 0;
      Exchange(&out, 1, (rank_ + distance) % world_size_, &in, 1,
               (rank_ + world_size_ - distance) % world_size_);
    }
  }

  const int rank_;
  const int world_size_;
  const absl::Duration timeout_;
  const std::shared_ptr<transport::Context> context_;

  // Of the thread that drives the operations.
  uint64_t operation_ = 0;  // how many there were: tells their messages apart
  int awaited_ = kNobody;   // the peer of the last exchange
  absl::Duration deadline_;
  std::vector<char> scratch_;

  std::mutex mutex_;
  absl::Status failure_;
};

std::string AddressKey(int rank) { return absl::StrCat("gloo/", rank); }

// One address for each other rank, in the order of ranks.
absl::Status Publish(const GlooOptions& options, transport::Context& context,
                     RendezvousStore& store) {
  std::string addresses;
  for (int peer = 0; peer < options.world_size; ++peer) {
    if (peer == options.rank) continue;
    const std::vector<char> address = context.createPair(peer)->address().bytes();
    absl::StrAppend(&addresses, addresses.empty() ? "" : ",",
                    absl::BytesToHexString({address.data(), address.size()}));
  }
  return store.Set(AddressKey(options.rank), addresses);
}

absl::StatusOr<std::vector<char>> AddressOf(const GlooOptions& options, int peer,
                                            RendezvousStore& store, absl::Duration deadline) {
  WF_ASSIGN_OR_RETURN(const std::string published,
                      store.Wait(AddressKey(peer), absl::FromChrono(Remaining(deadline))));
  const std::vector<std::string> addresses = absl::StrSplit(published, ',');
  if (addresses.size() != static_cast<size_t>(options.world_size - 1)) {
    return absl::FailedPreconditionError(
        absl::StrCat("rank ", peer, " published ", addresses.size(), " addresses, expected ",
                     options.world_size - 1, ": the ranks disagree about world_size"));
  }
  const std::string bytes = absl::HexStringToBytes(
      addresses[static_cast<size_t>(options.rank < peer ? options.rank : options.rank - 1)]);
  return std::vector<char>(bytes.begin(), bytes.end());
}

absl::Status Connect(const GlooOptions& options, transport::Context& context,
                     RendezvousStore& store) {
  const absl::Duration deadline = Clock::Real().Monotonic() + options.connect_timeout;
  context.setTimeout(absl::ToChronoMilliseconds(options.connect_timeout));
  WF_RETURN_IF_ERROR(Publish(options, context, store));

  // Gloo's connect takes neither a deadline for all peers nor a way to cancel it.
  std::mutex mutex;
  std::condition_variable_any changed;
  bool done = false;
  std::jthread watchdog([&] {
    std::unique_lock lock(mutex);
    if (!changed.wait_until(lock, options.cancel,
                            std::chrono::steady_clock::now() + Remaining(deadline),
                            [&] { return done; })) {
      CloseConnections(context);
    }
  });

  const auto connect = [&](int peer) -> absl::Status {
    WF_ASSIGN_OR_RETURN(const std::vector<char> address, AddressOf(options, peer, store, deadline));
    try {
      context.getPair(peer)->connect(address);
      return absl::OkStatus();
    } catch (const std::exception& error) {
      return absl::UnavailableError(error.what());
    }
  };
  absl::Status status;
  for (int peer = 0; peer < options.world_size && status.ok(); ++peer) {
    if (peer == options.rank) continue;
    status = connect(peer);
    const std::string who = absl::StrCat("rank ", options.rank, " of ", options.world_size,
                                         " could not connect to rank ", peer);
    if (options.cancel.stop_requested()) {
      status = absl::AbortedError(absl::StrCat(who, ": cancelled"));
    } else if (IsPast(deadline) || absl::IsDeadlineExceeded(status)) {
      status = absl::DeadlineExceededError(
          absl::StrCat(who, " within ", absl::FormatDuration(options.connect_timeout),
                       " (connect_timeout); is that rank running, and is its address reachable?"));
    } else if (!status.ok()) {
      status = absl::Status(status.code(), absl::StrCat(who, ": ", status.message()));
    }
  }
  {
    const std::lock_guard lock(mutex);
    done = true;
  }
  changed.notify_all();
  return status;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Communicator>> MakeGlooCommunicator(const GlooOptions& options,
                                                                   RendezvousStore& store) {
  WF_CHECK(0 <= options.rank && options.rank < options.world_size);
  IgnoreSigpipe();
  const auto cannot_listen = [&](const std::string& reason) {
    return absl::UnavailableError(absl::StrCat("rank ", options.rank, " cannot listen on address '",
                                               options.address, "': ", reason));
  };
  if (const absl::Status status = CheckAddress(options.address); !status.ok()) {
    return cannot_listen(std::string(status.message()));
  }
  std::shared_ptr<transport::Context> context;
  try {
    context = transport::tcp::CreateDevice(transport::tcp::attr(options.address.c_str()))
                  ->createContext(options.rank, options.world_size);
    WF_RETURN_IF_ERROR(Connect(options, *context, store));
  } catch (const std::exception& error) {
    return cannot_listen(error.what());
  }
  return std::make_unique<GlooCommunicator>(options, std::move(context));
}

}  // namespace wavefield
