#include "coordinator/explain/advice.h"

#include <fmt/format.h>

#include "coordinator/jobs/text.h"

namespace wavefield::coordinator {
namespace {

using wavefield::v1::Job;
using wavefield::v1::RootCause;

std::string AboutMemory(const Job& job) {
  const char* smaller =
      "make micro_batch_size or sequence_length smaller, or recompute activations";
  return job.memory_estimate_bytes() > 0 ? fmt::format("A rank of this job is estimated at {}; {}.",
                                                       Gib(job.memory_estimate_bytes()), smaller)
                                         : fmt::format("To need less, {}.", smaller);
}

std::string OnWorker(const RootCause& cause) {
  return cause.worker().empty() ? "the worker's host" : "the host of " + cause.worker();
}

}  // namespace

std::string AdviceFor(const RootCause& cause, const Job& job) {
  switch (cause.kind()) {
    case RootCause::KILLED:
      return fmt::format(
          "Look into the kernel's log on {} for the OOM killer (dmesg): if it was that, give it "
          "fewer "
          "slots or the job less to hold. {}",
          OnWorker(cause), AboutMemory(job));
    case RootCause::CRASHED:
      return fmt::format(
          "A fault of the program, or of the hardware if it comes on one host alone: compare where "
          "it "
          "happens; cordon {} if it is always there. The rank's log may say more: wavefield logs "
          "{} "
          "--rank {}.",
          cause.worker().empty() ? "the worker" : cause.worker(), job.name(), cause.rank());
    case RootCause::SIGNALLED:
      return fmt::format(
          "Somebody, or a service manager, sent this signal to the process on {}: find out who; "
          "the "
          "coordinator did not.",
          OnWorker(cause));
    case RootCause::VANISHED:
      return fmt::format(
          "The worker came back without it, so that nothing is known of its end: look into the log "
          "of "
          "wavefield-worker on {} and into the kernel's for a kill or a restart.",
          OnWorker(cause));
    case RootCause::WORKER_LOST:
      return fmt::format(
          "See whether {} is up, reaches the coordinator and is not overloaded; the log of "
          "wavefield-worker there says when it last could. A longer --lease-seconds bridges short "
          "outages.",
          OnWorker(cause));
    case RootCause::WORKER_REPLACED:
      return fmt::format(
          "wavefield-worker on {} was started again, or its host was: find out why. To empty a "
          "worker "
          "before that, drain it.",
          OnWorker(cause));
    case RootCause::START_FAILED:
      return fmt::format(
          "See that wavefield-trainer and wavefield-launcher are installed beside wavefield-worker "
          "on {} "
          "in the same release, and can be executed.",
          OnWorker(cause));
    case RootCause::OUT_OF_MEMORY:
      return AboutMemory(job);
    case RootCause::OUT_OF_SPACE:
      return "Make room in the storage: delete checkpoints that are not needed (wavefield "
             "checkpoints "
             "gc), keep fewer (checkpoint.keep_last), or give it a larger disk.";
    case RootCause::DATA_DAMAGED:
      return "What was read is not what was written: suspect the storage. Verify the checkpoints "
             "(wavefield checkpoints verify), and create the dataset again if it is the one named.";
    case RootCause::PEERS_UNREACHABLE:
      return "See that the ranks' hosts reach each other at the addresses their workers announce "
             "(--advertise-address), on all ports; if one rank was merely slow or hung, its log "
             "says so.";
    case RootCause::DEVICE_ERROR:
      return fmt::format(
          "Look into the kernel's log on {} for Xid errors and run nvidia-smi there; cordon the "
          "worker "
          "until it is healthy.",
          OnWorker(cause));
    case RootCause::ENDED_EARLY:
      return "The program ended as if all were well: see that all workers run the coordinator's "
             "release, and read the log of rank 0.";
    case RootCause::RANK_ERROR:
      return cause.error().empty()
                 ? fmt::format(
                       "The program did not say why; its log may: wavefield logs {} --rank {}.",
                       job.name(), cause.rank())
                 : "The error says what was wrong. If it comes again at the same step, it is the "
                   "spec's or the data's; if not, the host's.";
    case RootCause::DEPENDENCY_FAILED:
      return "Resume or repeat the job that this one waits for, then resume this one; or create it "
             "anew without `after`, or with `on: end`.";
    case RootCause::DID_NOT_STOP:
      return "Its ranks may have hung, or the storage was too slow for a checkpoint: what was done "
             "since the newest checkpoint is lost. Their logs say where they were.";
    case RootCause::NOT_FOUND:
      return "Something the job needs was removed or renamed: see that its dataset, and the "
             "checkpoint "
             "it starts from, are in the storage of every worker.";
    case RootCause::REFUSED:
      return "The host cannot do what the spec asks for: change the spec as the error says, or "
             "have "
             "other workers take the job (cordon this one).";
    default:
      return "The rank's log may say more.";
  }
}

}  // namespace wavefield::coordinator
