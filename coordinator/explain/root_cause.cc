#include "coordinator/explain/root_cause.h"

#include <fmt/format.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <initializer_list>

#include "absl/status/status.h"
#include "coordinator/explain/advice.h"
#include "coordinator/jobs/job_states.h"
#include "coordinator/jobs/text.h"
#include "coordinator/jobs/timestamps.h"

namespace wavefield::coordinator {
namespace {

using namespace wavefield::v1;  // NOLINT: the messages this file is about

constexpr int kMostCauses = 20;
constexpr int kMostLines = 20;
constexpr size_t kMostTextBytes = 2000;
// What wavefield-trainer ends with when it was told to abort, or a peer was gone.
constexpr int kExitAborted = 76;
// What the launcher, or a worker, answers for a program that could not be run.
constexpr int kCouldNotStart = 127;
constexpr char kEndedByWorker[] = "ended by the worker: ";

bool Contains(const std::string& text, std::initializer_list<const char*> words) {
  return std::any_of(words.begin(), words.end(),
                     [&](const char* word) { return text.find(word) != std::string::npos; });
}

bool AnyLineContains(const TaskExited& exited, std::initializer_list<const char*> words) {
  return std::any_of(exited.last_lines().begin(), exited.last_lines().end(),
                     [&](const std::string& line) { return Contains(line, words); });
}

// It ended because others did.
bool FellWithOthers(const TaskRecord& task, const TaskExited& exited) {
  if (!task.has_failure()) return exited.has_code() && exited.code() == kExitAborted;
  const auto code = static_cast<absl::StatusCode>(task.failure().code());
  return code == absl::StatusCode::kAborted || code == absl::StatusCode::kCancelled ||
         code == absl::StatusCode::kUnavailable;
}

RootCause::Kind KindOfSignal(const TaskExited& exited) {
  constexpr std::array kFaults = {SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE};
  if (std::find(kFaults.begin(), kFaults.end(), exited.signal()) != kFaults.end()) {
    if (AnyLineContains(exited, {"bad_alloc", "out of memory", "OutOfMemory"})) {
      return RootCause::OUT_OF_MEMORY;
    }
    if (AnyLineContains(exited, {"cudaError", "CUBLAS_STATUS", "CUFFT_", "ncclResult"})) {
      return RootCause::DEVICE_ERROR;
    }
    return RootCause::CRASHED;
  }
  return exited.signal() == SIGKILL ? RootCause::KILLED : RootCause::SIGNALLED;
}

RootCause::Kind KindOfFailure(const TrainerFailure& failure, bool on_gpu) {
  const std::string& phase = failure.phase();
  const bool with_storage = phase == "checkpoint" || phase == "resume" || phase == "data";
  switch (static_cast<absl::StatusCode>(failure.code())) {
    case absl::StatusCode::kResourceExhausted:
      return phase == "checkpoint" ||
                     Contains(failure.message(), {"No space left", "quota", "space"})
                 ? RootCause::OUT_OF_SPACE
                 : RootCause::OUT_OF_MEMORY;
    case absl::StatusCode::kDataLoss:
      return RootCause::DATA_DAMAGED;
    case absl::StatusCode::kUnavailable:
      return with_storage ? RootCause::RANK_ERROR : RootCause::PEERS_UNREACHABLE;
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kCancelled:
      return RootCause::PEERS_UNREACHABLE;
    case absl::StatusCode::kNotFound:
      return phase == "start" && on_gpu ? RootCause::REFUSED : RootCause::NOT_FOUND;
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kUnimplemented:
      return phase == "step" || phase == "evaluation" ? RootCause::RANK_ERROR : RootCause::REFUSED;
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kUnknown:
      return on_gpu ? RootCause::DEVICE_ERROR : RootCause::RANK_ERROR;
    default:
      return RootCause::RANK_ERROR;
  }
}

RootCause::Kind KindOfExit(const JobRecord& record, const TaskRecord& task,
                           const TaskExited& exited) {
  if (task.has_failure()) {
    return KindOfFailure(task.failure(), record.job().spec().resources().device() == "cuda");
  }
  if (exited.has_signal()) return KindOfSignal(exited);
  if (exited.code() == kCouldNotStart) return RootCause::START_FAILED;
  return exited.code() == kExitAborted ? RootCause::PEERS_UNREACHABLE : RootCause::RANK_ERROR;
}

// All but the kind and the advice, of no rank in particular.
RootCause Of(const JobRecord& record, absl::Time now) {
  RootCause cause;
  const Job& job = record.job();
  cause.set_attempt(job.attempt());
  *cause.mutable_time() = ToTimestamp(now);
  cause.set_rank(-1);
  if (HasAttempt(job.state()) && !record.training_started()) cause.set_phase("start");
  cause.set_step(job.last_step().step());
  return cause;
}

// … and of this one, with what it said of its error.
RootCause Of(const JobRecord& record, const TaskRecord& task, absl::Time now) {
  RootCause cause = Of(record, now);
  cause.set_rank(task.rank());
  cause.set_worker("workers/" + task.worker());
  if (!task.has_failure()) return cause;
  cause.set_error(Shortened(task.failure().message(), kMostTextBytes));
  if (!task.failure().phase().empty()) cause.set_phase(task.failure().phase());
  if (task.failure().step() > 0) cause.set_step(task.failure().step());
  return cause;
}

RootCause As(RootCause::Kind kind, RootCause cause, const JobRecord& record) {
  cause.set_kind(kind);
  cause.set_advice(AdviceFor(cause, record.job()));
  return cause;
}

// Another rank of the attempt that said what went wrong with itself; null if none did.
const TaskRecord* OtherCulprit(const JobRecord& record, const TaskRecord& task) {
  for (const TaskRecord& other : record.tasks()) {
    const bool same_attempt = other.epoch() == task.epoch() && other.rank() != task.rank();
    if (same_attempt && other.has_failure() && !FellWithOthers(other, {})) return &other;
  }
  return nullptr;
}

const char* NameOf(RootCause::Kind kind) {
  switch (kind) {
    case RootCause::VANISHED:
      return "is gone, and its worker did not see how it ended";
    case RootCause::WORKER_LOST:
    case RootCause::WORKER_REPLACED:
      return "was lost with its worker";
    case RootCause::START_FAILED:
      return "could not be started";
    case RootCause::OUT_OF_MEMORY:
      return "ran out of memory";
    case RootCause::OUT_OF_SPACE:
      return "found the storage full";
    case RootCause::DATA_DAMAGED:
      return "found data damaged";
    case RootCause::PEERS_UNREACHABLE:
      return "lost its peers";
    case RootCause::DEVICE_ERROR:
      return "had an error of its device";
    case RootCause::NOT_FOUND:
      return "did not find what it needs";
    case RootCause::REFUSED:
      return "cannot do what the spec asks for";
    default:
      return "ended with an error";
  }
}

}  // namespace

RootCause CauseOfExit(const JobRecord& record, const TaskRecord& task, const TaskExited& exited,
                      absl::Time now) {
  if (FellWithOthers(task, exited)) {
    if (const TaskRecord* culprit = OtherCulprit(record, task)) {
      return As(KindOfExit(record, *culprit, {}), Of(record, *culprit, now), record);
    }
  }
  RootCause cause = Of(record, task, now);
  if (exited.has_signal()) {
    cause.set_signal(exited.signal());
  } else {
    cause.set_exit_code(exited.code());
  }
  const int lines = exited.last_lines_size();
  for (int i = std::max(0, lines - kMostLines); i < lines; ++i) {
    cause.add_last_lines(Shortened(exited.last_lines(i), kMostTextBytes));
  }
  if (cause.error().empty() && lines > 0) {
    const std::string& last = exited.last_lines(lines - 1);
    if (last.rfind(kEndedByWorker, 0) == 0 || exited.code() == kCouldNotStart) {
      cause.set_error(Shortened(last, kMostTextBytes));
    }
  }
  return As(KindOfExit(record, task, exited), std::move(cause), record);
}

RootCause CauseOfLostWorker(const JobRecord& record, const TaskRecord& task, bool replaced,
                            const std::string& why, absl::Time now) {
  RootCause cause = Of(record, task, now);
  if (cause.error().empty()) cause.set_error(Shortened(why, kMostTextBytes));
  return As(replaced ? RootCause::WORKER_REPLACED : RootCause::WORKER_LOST, std::move(cause),
            record);
}

RootCause CauseOfVanishedTask(const JobRecord& record, const TaskRecord& task, absl::Time now) {
  return As(RootCause::VANISHED, Of(record, task, now), record);
}

RootCause CauseOfEarlyEnd(const JobRecord& record, absl::Time now) {
  RootCause cause = Of(record, now);
  cause.set_exit_code(0);
  return As(RootCause::ENDED_EARLY, std::move(cause), record);
}

RootCause CauseOfDependency(const JobRecord& record, const std::string& message, absl::Time now) {
  RootCause cause = Of(record, now);
  cause.set_error(Shortened(message, kMostTextBytes));
  return As(RootCause::DEPENDENCY_FAILED, std::move(cause), record);
}

RootCause CauseOfNotStopping(const JobRecord& record, const std::string& why, absl::Time now) {
  RootCause cause = Of(record, now);
  cause.set_error(Shortened(why, kMostTextBytes));
  return As(RootCause::DID_NOT_STOP, std::move(cause), record);
}

void AddRootCause(JobRecord& record, RootCause cause) {
  auto& causes = *record.mutable_root_causes();
  *causes.Add() = std::move(cause);
  if (causes.size() > kMostCauses) causes.DeleteSubrange(0, causes.size() - kMostCauses);
}

void CompleteRootCause(JobRecord& record, const RootCause& late) {
  if (record.root_causes().empty()) return;
  RootCause& known = *record.mutable_root_causes()->rbegin();
  if (known.attempt() != late.attempt()) return;
  const bool ended_by_worker = late.error().rfind(kEndedByWorker, 0) == 0;
  if (known.rank() == late.rank() && !known.has_exit_code() && !known.has_signal() &&
      known.kind() != RootCause::WORKER_LOST && known.kind() != RootCause::WORKER_REPLACED) {
    if (late.has_exit_code()) known.set_exit_code(late.exit_code());
    if (late.has_signal()) known.set_signal(late.signal());
    *known.mutable_last_lines() = late.last_lines();
  } else if (known.kind() == RootCause::PEERS_UNREACHABLE && !ended_by_worker &&
             late.kind() != RootCause::PEERS_UNREACHABLE && late.exit_code() != kExitAborted) {
    known = late;
  }
}

std::string DescribeRootCause(const RootCause& cause) {
  std::string text;
  if (cause.rank() < 0) {
    return cause.kind() == RootCause::ENDED_EARLY
               ? fmt::format(
                     "all ranks ended with exit code 0 before training was done, after step "
                     "{} of attempt {}",
                     cause.step(), cause.attempt())
               : cause.error();
  }
  text = fmt::format("rank {} on {} ", cause.rank(), cause.worker());
  if (cause.has_signal()) {
    text += fmt::format("was ended by signal {} ({})", cause.signal(), strsignal(cause.signal()));
  } else {
    text += NameOf(cause.kind());
    if (cause.has_exit_code()) text += fmt::format(" (exit code {})", cause.exit_code());
  }
  text += fmt::format(" in attempt {}, ", cause.attempt());
  text += cause.step() > 0 ? fmt::format("after step {}", cause.step()) : "before its first step";
  if (!cause.phase().empty()) text += fmt::format(", phase {}", cause.phase());
  if (!cause.error().empty()) text += ": " + cause.error();
  return text;
}

}  // namespace wavefield::coordinator
