#pragma once

#include <grpcpp/support/server_callback.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "coordinator/rpc/executor.h"
#include "proto/rpc/status.h"

namespace wavefield::coordinator {

// How handlers leave gRPC's threads: their bodies run on an executor and may block there.

absl::Status Overloaded();

// A unary call: `body` fills the response.
grpc::ServerUnaryReactor* RunUnary(grpc::CallbackServerContext* context, Executor& executor,
                                   std::function<absl::Status()> body);

// The answering side of a stream for a body that blocks on its own thread.
template <typename Response>
class StreamWriter {
 public:
  virtual ~StreamWriter() = default;
  // Waits until the message is on its way; false when the call is over.
  virtual bool Write(const Response& response) = 0;
  // The client went away, its deadline passed, or the server shuts down.
  virtual bool cancelled() const = 0;
};

// Shared by reactors with a blocking body: waiting for the operation that is under way.
class PendingOperation {
 public:
  void Begin() {
    std::lock_guard lock(mutex_);
    done_.reset();
  }
  void Complete(bool ok) {
    std::lock_guard lock(mutex_);
    done_ = ok;
    completed_.notify_one();
  }
  bool Wait() {
    std::unique_lock lock(mutex_);
    completed_.wait(lock, [&] { return done_.has_value(); });
    return *done_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable completed_;
  std::optional<bool> done_;
};

template <typename Response>
class BlockingWriteReactor final : public grpc::ServerWriteReactor<Response>,
                                   private StreamWriter<Response> {
 public:
  using Body = std::function<absl::Status(StreamWriter<Response>&)>;

  // Owns itself until the call is done.
  static grpc::ServerWriteReactor<Response>* Run(Executor& executor, Body body) {
    auto* reactor = new BlockingWriteReactor;
    const bool taken = executor.TryRun([reactor, body = std::move(body)] {
      StreamWriter<Response>& writer = *reactor;
      reactor->Finish(ToGrpcStatus(body(writer)));
    });
    if (!taken) reactor->Finish(ToGrpcStatus(Overloaded()));
    return reactor;
  }

 private:
  bool Write(const Response& response) override {
    if (cancelled_) return false;
    operation_.Begin();
    this->StartWrite(&response);
    return operation_.Wait();
  }
  bool cancelled() const override { return cancelled_; }
  void OnWriteDone(bool ok) override { operation_.Complete(ok); }
  void OnCancel() override { cancelled_ = true; }
  void OnDone() override { delete this; }

  PendingOperation operation_;
  std::atomic<bool> cancelled_ = false;
};

// Both sides of a stream.
template <typename Request, typename Response>
class StreamReaderWriter : public StreamWriter<Response> {
 public:
  // Waits for the next message; false after the last.
  virtual bool Read(Request& request) = 0;
};

template <typename Request, typename Response>
class BlockingBidiReactor final : public grpc::ServerBidiReactor<Request, Response>,
                                  private StreamReaderWriter<Request, Response> {
 public:
  using Stream = StreamReaderWriter<Request, Response>;
  using Body = std::function<absl::Status(Stream&)>;

  static grpc::ServerBidiReactor<Request, Response>* Run(Executor& executor, Body body) {
    auto* reactor = new BlockingBidiReactor;
    const bool taken = executor.TryRun([reactor, body = std::move(body)] {
      Stream& stream = *reactor;
      reactor->Finish(ToGrpcStatus(body(stream)));
    });
    if (!taken) reactor->Finish(ToGrpcStatus(Overloaded()));
    return reactor;
  }

 private:
  bool Read(Request& request) override {
    read_.Begin();
    this->StartRead(&request);
    return read_.Wait();
  }
  bool Write(const Response& response) override {
    if (cancelled_) return false;
    write_.Begin();
    this->StartWrite(&response);
    return write_.Wait();
  }
  bool cancelled() const override { return cancelled_; }
  void OnReadDone(bool ok) override { read_.Complete(ok); }
  void OnWriteDone(bool ok) override { write_.Complete(ok); }
  void OnCancel() override { cancelled_ = true; }
  void OnDone() override { delete this; }

  PendingOperation read_;
  PendingOperation write_;
  std::atomic<bool> cancelled_ = false;
};

}  // namespace wavefield::coordinator
