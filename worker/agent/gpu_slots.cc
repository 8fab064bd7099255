#include "worker/agent/gpu_slots.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/base/clock.h"
#include "core/base/status_macros.h"
#include "worker/agent/trainer_query.h"

namespace wavefield {
namespace {

// More than an idle driver keeps for itself, less than any rank takes.
constexpr int64_t kFreeBelowBytes = int64_t{1} << 30;
// A driver may need seconds to clean up after a process that was killed.
constexpr absl::Duration kWaitForFree = absl::Minutes(1);
constexpr size_t kMaxGpus = 64;

std::string CudaVersion(int version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

std::string Capability(int capability) {
  return fmt::format("{}.{}", capability / 10, capability % 10);
}

// Empty when the memory is free.
std::string WhyBusy(const v1::GpuTelemetry& telemetry) {
  if (telemetry.memory_used_bytes() < kFreeBelowBytes) return "";
  return fmt::format(
      "{:.1f} GiB of its memory are used by other processes (`nvidia-smi` lists them)",
      static_cast<double>(telemetry.memory_used_bytes()) / (1 << 30));
}

}  // namespace

absl::StatusOr<CudaRequirements> AskForCudaRequirements(
    const std::filesystem::path& trainer_program, const std::function<bool()>& cancelled) {
  WF_ASSIGN_OR_RETURN(const auto answer, AskTrainer(trainer_program, {"cuda"}, {}, cancelled));
  if (answer.contains("error") && answer["error"].is_string()) {
    return absl::FailedPreconditionError(answer["error"].get<std::string>());
  }
  try {
    return CudaRequirements{
        .cuda_version = answer.at("cuda_version").get<int>(),
        .least_compute_capability = answer.at("least_compute_capability").get<int>()};
  } catch (const nlohmann::json::exception& error) {
    return absl::InternalError(absl::StrCat("`wavefield-trainer cuda`: ", error.what()));
  }
}

std::string WhyUnfit(const v1::Gpu& gpu, int driver_cuda_version,
                     const absl::StatusOr<CudaRequirements>& requirements) {
  if (!requirements.ok()) return std::string(requirements.status().message());
  if (driver_cuda_version / 1000 < requirements->cuda_version / 1000) {
    return fmt::format(
        "the driver {} knows CUDA {}, the CUDA module was built with {}: install a driver for CUDA "
        "{}.0 or later",
        gpu.driver_version(), CudaVersion(driver_cuda_version),
        CudaVersion(requirements->cuda_version), requirements->cuda_version / 1000);
  }
  if (gpu.compute_capability() < requirements->least_compute_capability) {
    return fmt::format(
        "it has compute capability {}, the CUDA module has code for {} and later: build it with "
        "another WAVEFIELD_CUDA_ARCHITECTURES, or use a newer GPU",
        Capability(gpu.compute_capability()), Capability(requirements->least_compute_capability));
  }
  return "";
}

absl::StatusOr<std::optional<std::set<int>>> ParseGpuSelection(const std::string& text) {
  if (text == "all") return std::nullopt;
  std::set<int> indices;
  if (text == "none") return indices;
  const std::vector<std::string> parts = absl::StrSplit(text, ',');
  for (const std::string& part : parts) {
    int index = 0;
    if (!absl::SimpleAtoi(part, &index) || index < 0 || !indices.insert(index).second) {
      return absl::InvalidArgumentError(absl::StrCat(
          "--gpus '", text, "'; allowed: 'all', 'none', or different indices like '0,2'"));
    }
  }
  return indices;
}

absl::StatusOr<std::unique_ptr<GpuSlots>> GpuSlots::Make(
    std::unique_ptr<Nvml> nvml, const std::optional<std::set<int>>& selection, int first_slot,
    const absl::StatusOr<CudaRequirements>& requirements) {
  auto made = std::unique_ptr<GpuSlots>(new GpuSlots);
  made->nvml_ = std::move(nvml);
  const absl::MutexLock lock(&made->mutex_);
  std::set<int> missing = selection.value_or(std::set<int>());
  const size_t count = made->nvml_ == nullptr ? 0 : made->nvml_->gpus().size();
  for (size_t i = 0; i < count && made->places_.size() < kMaxGpus; ++i) {
    Place place{.gpu = made->nvml_->gpus()[i], .index = i};
    if (selection && missing.erase(place.gpu.index()) == 0) continue;
    const std::string unfit = WhyUnfit(place.gpu, made->nvml_->cuda_version(), requirements);
    place.gpu.set_unavailable(unfit);
    place.gpu.set_slot(unfit.empty() ? first_slot + made->slots_++ : -1);
    if (unfit.empty()) {
      spdlog::info("GPU {}: {}, slot {}", place.gpu.index(), place.gpu.model(), place.gpu.slot());
    } else {
      spdlog::warn("GPU {}: {} is not offered: {}", place.gpu.index(), place.gpu.model(), unfit);
    }
    made->places_.push_back(std::move(place));
  }
  if (missing.empty()) return made;
  return absl::NotFoundError(
      fmt::format("--gpus names GPU {}, and this host has {}", *missing.begin(), count));
}

std::vector<v1::Gpu> GpuSlots::Report() {
  const absl::MutexLock lock(&mutex_);
  std::vector<v1::Gpu> report;
  for (const Place& place : places_) {
    v1::Gpu& gpu = report.emplace_back(place.gpu);
    *gpu.mutable_telemetry() = nvml_->Read(place.index);
    if (gpu.slot() >= 0 && !place.occupied) gpu.set_unavailable(WhyBusy(gpu.telemetry()));
  }
  return report;
}

absl::Status GpuSlots::CheckFree(int slot) {
  const absl::MutexLock lock(&mutex_);
  Place* const place = Find(slot);
  if (place == nullptr) return absl::OkStatus();
  const std::string busy = WhyBusy(nvml_->Read(place->index));
  if (busy.empty()) {
    place->busy_since.reset();
    return absl::OkStatus();
  }
  const std::string reason = fmt::format("GPU {}: {}", place->gpu.index(), busy);
  const absl::Duration now = Clock::Real().Monotonic();
  if (!place->busy_since) {
    place->busy_since = now;
    spdlog::warn("slot {} waits: {}", slot, reason);
  }
  if (now - *place->busy_since < kWaitForFree) return absl::UnavailableError(reason);
  place->busy_since.reset();
  return absl::FailedPreconditionError(reason);
}

std::vector<std::string> GpuSlots::Occupy(int slot) {
  const absl::MutexLock lock(&mutex_);
  Place* const place = Find(slot);
  if (place == nullptr) return {};
  place->occupied = true;
  return {"CUDA_VISIBLE_DEVICES=" + place->gpu.uuid()};
}

void GpuSlots::Vacate(int slot) {
  const absl::MutexLock lock(&mutex_);
  if (Place* const place = Find(slot); place != nullptr) place->occupied = false;
}

GpuSlots::Place* GpuSlots::Find(int slot) {
  for (Place& place : places_) {
    if (slot >= 0 && place.gpu.slot() == slot) return &place;
  }
  return nullptr;
}

}  // namespace wavefield
