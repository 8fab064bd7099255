#include "coordinator/cluster/inference_session.h"

#include <fmt/format.h>

#include "coordinator/jobs/text.h"

namespace wavefield::coordinator {
namespace {

constexpr size_t kMaxWaitingOutputs = 100'000;

// What was wrong with the request stays that; anything else may go better another time.
absl::StatusCode CodeOf(const wavefield::v1::TrainerFailure& failure) {
  const auto code = static_cast<absl::StatusCode>(failure.code());
  switch (code) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kDataLoss:
    case absl::StatusCode::kResourceExhausted:
      return code;
    default:
      return absl::StatusCode::kAborted;
  }
}

}  // namespace

void InferenceSession::Take(const wavefield::v1::WorkerEvent& event) {
  {
    std::lock_guard lock(mutex_);
    if (event.has_started()) {
      started_ = true;
    } else if (event.has_exited()) {
      const auto& exited = event.exited();
      std::string message =
          fmt::format("{} on workers/{} ended with {} {} before it was done", Describe(), worker,
                      exited.has_signal() ? "signal" : "exit code",
                      exited.has_signal() ? exited.signal() : exited.code());
      if (!failure_.message().empty()) {
        message += ": " + failure_.message();
      } else if (!exited.last_lines().empty()) {
        message += "; its log ends with: " +
                   Shortened(exited.last_lines(exited.last_lines_size() - 1), 500);
      }
      EndLocked(complete_ ? absl::OkStatus() : absl::Status(CodeOf(failure_), message));
    } else if (event.trainer().has_failure()) {
      failure_ = event.trainer().failure();
      failure_.set_message(Shortened(failure_.message(), 1000));
    } else if (event.trainer().has_output() && !end_) {
      if (outputs_.size() >= kMaxWaitingOutputs) {
        EndLocked(absl::ResourceExhaustedError(fmt::format(
            "{} outputs wait for a client that does not read them", kMaxWaitingOutputs)));
      } else {
        outputs_.push_back(event.trainer().output());
        if (event.trainer().output().done()) {
          complete_ = true;
          EndLocked(absl::OkStatus());
        }
      }
    }
  }
  changed_.Notify();
}

void InferenceSession::End(absl::Status status) {
  {
    std::lock_guard lock(mutex_);
    EndLocked(std::move(status));
  }
  changed_.Notify();
}

void InferenceSession::EndLocked(absl::Status status) {
  if (!end_) end_ = std::move(status);
}

std::optional<wavefield::v1::InferenceOutput> InferenceSession::Next(absl::Duration timeout) {
  const uint64_t seen = changed_.version();
  for (int look = 0; look < 2; ++look) {
    {
      std::lock_guard lock(mutex_);
      if (!outputs_.empty()) {
        auto output = std::move(outputs_.front());
        outputs_.pop_front();
        return output;
      }
      if (end_) return std::nullopt;
    }
    if (look == 0) changed_.WaitPast(seen, timeout);
  }
  return std::nullopt;
}

std::optional<absl::Status> InferenceSession::ended() const {
  std::lock_guard lock(mutex_);
  if (!outputs_.empty()) return std::nullopt;
  return end_;
}

bool InferenceSession::started() const {
  std::lock_guard lock(mutex_);
  return started_;
}

}  // namespace wavefield::coordinator
