#include "worker/agent/run_worker.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdio>
#include <memory>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/base/subprocess.h"
#include "core/base/version.h"
#include "worker/agent/agent.h"
#include "worker/agent/gpu_slots.h"
#include "worker/agent/host.h"

namespace wavefield {
namespace {

constexpr double kMemoryShare = 0.9;

absl::Status CheckDirectory(const std::string& flag, const std::filesystem::path& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return absl::OkStatus();
  return absl::NotFoundError(absl::StrCat(flag, " ", path.string(), " is not a directory"));
}

bool IsPending(const sigset_t& signals) {
  sigset_t pending;
  sigpending(&pending);
  sigset_t both;
  sigandset(&both, &pending, &signals);
  return sigisemptyset(&both) == 0;
}

// A host without a driver has no GPUs, which is an error only if some were asked for by number.
absl::StatusOr<std::shared_ptr<GpuSlots>> FindGpus(const WorkerFlags& flags, int first_slot,
                                                   const std::filesystem::path& trainer_program,
                                                   const std::function<bool()>& cancelled) {
  WF_ASSIGN_OR_RETURN(const auto selection, ParseGpuSelection(flags.gpus));
  if (selection && selection->empty()) return nullptr;
  absl::StatusOr<std::unique_ptr<Nvml>> nvml = Nvml::Open();
  if (!nvml.ok()) {
    if (selection) return nvml.status();
    if (!absl::IsNotFound(nvml.status())) {
      spdlog::warn("no GPU is offered: {}", std::string(nvml.status().message()));
    }
    return nullptr;
  }
  return GpuSlots::Make(*std::move(nvml), selection, first_slot,
                        AskForCudaRequirements(trainer_program, cancelled));
}

}  // namespace

absl::Status RunWorker(const WorkerFlags& flags, const sigset_t& signals) {
  AgentOptions options;
  v1::RegisterWorkerRequest& identity = options.session.identity;
  const std::string name = flags.name.empty() ? DefaultWorkerName() : flags.name;
  WF_RETURN_IF_ERROR(CheckWorkerName(name));
  WF_RETURN_IF_ERROR(CheckDirectory("--storage-root", flags.storage_root));
  std::string address = flags.advertise_address;
  if (address.empty()) {
    WF_ASSIGN_OR_RETURN(address, AddressTowards(flags.connection.address));
  }
  const int slots =
      flags.slots > 0 ? flags.slots : std::max(1, HardwareThreads() / flags.threads_per_slot);
  identity.set_worker_id(name);
  identity.set_address(address);
  identity.set_device("cpu");
  identity.set_slots(slots);
  identity.set_threads_per_slot(flags.threads_per_slot);
  identity.set_memory_per_slot(
      flags.memory_per_slot > 0
          ? flags.memory_per_slot
          : static_cast<int64_t>(kMemoryShare * static_cast<double>(TotalMemory() / slots)));
  identity.set_version(kVersion);
  options.connection = flags.connection;
  options.session.storage_root = flags.storage_root;
  options.session.orphan_timeout = flags.orphan_timeout;
  options.drain_timeout = flags.drain_timeout;
  options.session.on_ready = [](const std::string& worker_id) {
    std::printf("ready %s\n", worker_id.c_str());
    std::fflush(stdout);
  };
  TaskOptions& task = options.runner.task;
  task.trainer_program = ProgramDirectory() / "wavefield-trainer";
  task.data_dir = std::filesystem::absolute(flags.data_dir);
  task.storage_root = std::filesystem::absolute(flags.storage_root);
  task.threads = flags.threads_per_slot;
  task.address = address;
  task.logging = flags.logging;

  WF_ASSIGN_OR_RETURN(FileLock lock, LockDataDirectory(task.data_dir));
  const auto cancelled = [&] { return IsPending(signals); };
  options.runner.slots = slots;
  WF_ASSIGN_OR_RETURN(options.runner.gpus, FindGpus(flags, slots, task.trainer_program, cancelled));
  options.session.gpus = options.runner.gpus;
  const absl::StatusOr<double> rate =
      MeasureSlotRate(task.trainer_program, flags.threads_per_slot, cancelled);
  if (absl::IsCancelled(rate.status())) return absl::OkStatus();
  if (!rate.ok()) spdlog::warn("the rate of a slot is unknown: {}", rate.status().ToString());
  identity.set_matmul_rate(rate.value_or(0));
  spdlog::info("{}: {} slots of {} threads, {:.1f} GFLOP/s each", name, slots,
               flags.threads_per_slot, rate.value_or(0) / 1e9);

  WF_ASSIGN_OR_RETURN(const std::unique_ptr<Agent> agent,
                      Agent::Start(std::move(options), std::move(lock)));
  int signal = 0;
  sigwait(&signals, &signal);
  spdlog::info("signal {}: shutting down", signal);
  return absl::OkStatus();
}

}  // namespace wavefield
