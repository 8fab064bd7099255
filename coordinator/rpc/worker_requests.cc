#include "coordinator/rpc/worker_requests.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "absl/strings/ascii.h"
#include "coordinator/jobs/text.h"
#include "coordinator/rpc/requests.h"
#include "core/base/status_macros.h"
#include "proto/rpc/status.h"

namespace wavefield::coordinator {
namespace {

constexpr int kMaxSlots = 1024;
constexpr int kMaxThreads = 4096;
constexpr int kMaxGpus = 64;
constexpr size_t kMaxGpuTextBytes = 128;
constexpr size_t kMaxReasonBytes = 2000;
constexpr size_t kMaxKeyBytes = 256;
constexpr size_t kMaxValueBytes = 64 << 10;

bool IsWorkerId(const std::string& id) {
  if (id.empty() || id.size() > 63 || !absl::ascii_islower(static_cast<unsigned char>(id[0])))
    return false;
  return std::all_of(id.begin(), id.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
  });
}

absl::Status CheckRange(const char* field, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return absl::OkStatus();
  return InvalidField(field, fmt::format("is {}; allowed: {} to {}", value, low, high));
}

absl::Status CheckText(const char* field, const std::string& text, size_t limit) {
  if (!text.empty() && text.size() <= limit) return absl::OkStatus();
  return InvalidField(field,
                      fmt::format("has {} characters; allowed: 1 to {}", text.size(), limit));
}

}  // namespace

absl::StatusOr<std::string> WorkerIdOf(const std::string& name) {
  const std::string prefix = "workers/";
  if (name.rfind(prefix, 0) == 0 && IsWorkerId(name.substr(prefix.size()))) {
    return name.substr(prefix.size());
  }
  return InvalidField("name", fmt::format("'{}' is not a name of the form workers/ID, ID = "
                                          "[a-z][a-z0-9.-]{{0,62}}",
                                          Shortened(name, 100)));
}

absl::Status CheckRegistration(const wavefield::v1::RegisterWorkerRequest& request,
                               const std::string& probe) {
  if (!IsWorkerId(request.worker_id())) {
    return InvalidField("worker_id", fmt::format("is '{}'; allowed: [a-z][a-z0-9.-]{{0,62}}",
                                                 Shortened(request.worker_id(), 80)));
  }
  WF_RETURN_IF_ERROR(CheckText("incarnation", request.incarnation(), 128));
  WF_RETURN_IF_ERROR(CheckText("address", request.address(), 256));
  WF_RETURN_IF_ERROR(CheckText("device", request.device(), 32));
  WF_RETURN_IF_ERROR(CheckRange("slots", request.slots(), 1, kMaxSlots));
  WF_RETURN_IF_ERROR(CheckRange("threads_per_slot", request.threads_per_slot(), 0, kMaxThreads));
  WF_RETURN_IF_ERROR(CheckRange("memory_per_slot", request.memory_per_slot(), 0, int64_t{1} << 50));
  WF_RETURN_IF_ERROR(CheckGpus(request.gpus()));
  std::set<int32_t> slots;
  for (const wavefield::v1::Gpu& gpu : request.gpus()) {
    if (gpu.slot() == -1) continue;
    WF_RETURN_IF_ERROR(CheckRange("gpus.slot", gpu.slot(), request.slots(),
                                  int64_t{request.slots()} + request.gpus_size() - 1));
    if (!slots.insert(gpu.slot()).second) {
      return InvalidField("gpus.slot", fmt::format("is {} twice; each has its own", gpu.slot()));
    }
  }
  if (!std::isfinite(request.matmul_rate()) || request.matmul_rate() < 0) {
    return InvalidField("matmul_rate",
                        fmt::format("is {}; allowed: 0 and up", request.matmul_rate()));
  }
  if (absl::StripAsciiWhitespace(request.storage_probe()) == probe) return absl::OkStatus();
  return StatusWithReason(
      absl::StatusCode::kFailedPrecondition, "STORAGE_NOT_SHARED",
      fmt::format(
          "workers/{} does not see the cluster's storage root: what it read from its file 'probe' "
          "is not what the coordinator wrote to its own; mount the coordinator's --storage-root on "
          "both and give it to the worker",
          request.worker_id()));
}

absl::Status CheckGpus(const google::protobuf::RepeatedPtrField<wavefield::v1::Gpu>& gpus) {
  WF_RETURN_IF_ERROR(CheckRange("gpus", gpus.size(), 0, kMaxGpus));
  for (const wavefield::v1::Gpu& gpu : gpus) {
    WF_RETURN_IF_ERROR(CheckText("gpus.uuid", gpu.uuid(), kMaxGpuTextBytes));
    WF_RETURN_IF_ERROR(CheckText("gpus.model", gpu.model(), kMaxGpuTextBytes));
    WF_RETURN_IF_ERROR(CheckText("gpus.driver_version", gpu.driver_version(), kMaxGpuTextBytes));
    WF_RETURN_IF_ERROR(CheckRange("gpus.memory_bytes", gpu.memory_bytes(), 0, int64_t{1} << 50));
    if (gpu.unavailable().size() > kMaxReasonBytes) {
      return InvalidField("gpus.unavailable",
                          fmt::format("has {} bytes; at most {} are allowed",
                                      gpu.unavailable().size(), kMaxReasonBytes));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckRendezvousKey(const std::string& key) {
  return CheckText("key", key, kMaxKeyBytes);
}

absl::Status CheckRendezvousValue(const std::string& value) {
  if (value.size() <= kMaxValueBytes) return absl::OkStatus();
  return InvalidField(
      "value", fmt::format("has {} bytes; at most {} are allowed", value.size(), kMaxValueBytes));
}

}  // namespace wavefield::coordinator
