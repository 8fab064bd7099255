#include "worker/agent/nvml.h"

#include <dlfcn.h>
#include <spdlog/spdlog.h>

#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"

namespace wavefield {
namespace {

// NVML's own declarations, as far as they are used; its interface is stable.
constexpr char kLibrary[] = "libnvidia-ml.so.1";
using Result = int;
using Device = void*;
using EventSet = void*;
constexpr Result kSuccess = 0;
constexpr unsigned kTextBytes = 96;
constexpr unsigned kGpuTemperature = 0;
constexpr int kUncorrectedErrors = 1;
constexpr int kSinceDriverLoad = 0;
constexpr unsigned long long kXidEvents = 8;
// Reasons why clocks are lower than they could be, as far as they mean that something is wrong: the
// hardware's slowdown (0x8) for heat (0x40) or by the power supply's brake (0x80), and the driver's
// for heat (0x20). Its power cap (0x4) is not among them: big GPUs at full load always have it.
constexpr unsigned long long kThrottled = 0x8 | 0x20 | 0x40 | 0x80;

struct MemoryInfo {
  unsigned version;
  unsigned long long total, reserved, free, used;
};
constexpr unsigned kMemoryInfoVersion = sizeof(MemoryInfo) | (2u << 24);

struct Utilization {
  unsigned gpu, memory;  // percent
};

struct EventData {
  Device device;
  unsigned long long type, data;
  unsigned gpu_instance, compute_instance;
};

}  // namespace

struct Nvml::Library {
  void* handle = nullptr;
  Result (*Init)();
  Result (*Shutdown)();
  const char* (*ErrorString)(Result);
  Result (*DriverVersion)(char*, unsigned);
  Result (*CudaVersion)(int*);
  Result (*Count)(unsigned*);
  Result (*HandleByIndex)(unsigned, Device*);
  Result (*Name)(Device, char*, unsigned);
  Result (*Uuid)(Device, char*, unsigned);
  Result (*ComputeCapability)(Device, int*, int*);
  Result (*Memory)(Device, MemoryInfo*);
  Result (*UtilizationRates)(Device, Utilization*);
  Result (*Temperature)(Device, unsigned, unsigned*);
  Result (*Power)(Device, unsigned*);
  Result (*EccErrors)(Device, int, int, unsigned long long*);
  Result (*ThrottleReasons)(Device, unsigned long long*);  // null: the driver does not have it
  Result (*EventSetCreate)(EventSet*);
  Result (*EventSetFree)(EventSet);
  Result (*RegisterEvents)(Device, unsigned long long, EventSet);
  Result (*EventSetWait)(EventSet, EventData*, unsigned);

  // False when a symbol is missing.
  bool Resolve() {
    const auto find = [&](const char* name, auto& function) {
      function = reinterpret_cast<std::decay_t<decltype(function)>>(::dlsym(handle, name));
      return function != nullptr;
    };
    find("nvmlDeviceGetCurrentClocksThrottleReasons", ThrottleReasons);
    return find("nvmlInit_v2", Init) && find("nvmlShutdown", Shutdown) &&
           find("nvmlErrorString", ErrorString) &&
           find("nvmlSystemGetDriverVersion", DriverVersion) &&
           find("nvmlSystemGetCudaDriverVersion_v2", CudaVersion) &&
           find("nvmlDeviceGetCount_v2", Count) &&
           find("nvmlDeviceGetHandleByIndex_v2", HandleByIndex) &&
           find("nvmlDeviceGetName", Name) && find("nvmlDeviceGetUUID", Uuid) &&
           find("nvmlDeviceGetCudaComputeCapability", ComputeCapability) &&
           find("nvmlDeviceGetMemoryInfo_v2", Memory) &&
           find("nvmlDeviceGetUtilizationRates", UtilizationRates) &&
           find("nvmlDeviceGetTemperature", Temperature) &&
           find("nvmlDeviceGetPowerUsage", Power) &&
           find("nvmlDeviceGetTotalEccErrors", EccErrors) &&
           find("nvmlEventSetCreate", EventSetCreate) && find("nvmlEventSetFree", EventSetFree) &&
           find("nvmlDeviceRegisterEvents", RegisterEvents) &&
           find("nvmlEventSetWait_v2", EventSetWait);
  }

  absl::Status Check(Result result, const char* call) const {
    if (result == kSuccess) return absl::OkStatus();
    return absl::UnavailableError(
        absl::StrCat("the NVIDIA driver does not answer: ", call, ": ", ErrorString(result)));
  }
};

Nvml::Nvml(std::unique_ptr<Library> library) : library_(std::move(library)) {}

Nvml::~Nvml() {
  if (errors_ != nullptr) library_->EventSetFree(errors_);
  library_->Shutdown();
}

absl::StatusOr<std::unique_ptr<Nvml>> Nvml::Open() {
  auto library = std::make_unique<Library>();
  library->handle = ::dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
  if (library->handle == nullptr) {
    return absl::NotFoundError(absl::StrCat("no NVIDIA driver on this host: ", ::dlerror()));
  }
  if (!library->Resolve()) {
    return absl::UnavailableError(
        absl::StrCat("the NVIDIA driver of this host is too old: ", ::dlerror()));
  }
  WF_RETURN_IF_ERROR(library->Check(library->Init(), "nvmlInit_v2"));
  auto nvml = std::unique_ptr<Nvml>(new Nvml(std::move(library)));
  WF_RETURN_IF_ERROR(nvml->Describe());
  nvml->WatchErrors();
  return nvml;
}

absl::Status Nvml::Describe() {
  std::array<char, kTextBytes> driver{};
  WF_RETURN_IF_ERROR(library_->Check(library_->DriverVersion(driver.data(), kTextBytes),
                                     "nvmlSystemGetDriverVersion"));
  WF_RETURN_IF_ERROR(
      library_->Check(library_->CudaVersion(&cuda_version_), "nvmlSystemGetCudaDriverVersion_v2"));
  unsigned count = 0;
  WF_RETURN_IF_ERROR(library_->Check(library_->Count(&count), "nvmlDeviceGetCount_v2"));
  for (unsigned index = 0; index < count; ++index) {
    if (const absl::Status status = DescribeGpu(index, driver.data()); !status.ok()) {
      spdlog::warn("GPU {} is left out: {}", index, status.ToString());
    }
  }
  const absl::MutexLock lock(&mutex_);
  last_xid_.resize(gpus_.size());
  return absl::OkStatus();
}

absl::Status Nvml::DescribeGpu(unsigned index, const std::string& driver_version) {
  Device device = nullptr;
  std::array<char, kTextBytes> name{}, uuid{};
  int major = 0, minor = 0;
  MemoryInfo memory{.version = kMemoryInfoVersion};
  WF_RETURN_IF_ERROR(
      library_->Check(library_->HandleByIndex(index, &device), "nvmlDeviceGetHandleByIndex_v2"));
  WF_RETURN_IF_ERROR(
      library_->Check(library_->Name(device, name.data(), kTextBytes), "nvmlDeviceGetName"));
  WF_RETURN_IF_ERROR(
      library_->Check(library_->Uuid(device, uuid.data(), kTextBytes), "nvmlDeviceGetUUID"));
  WF_RETURN_IF_ERROR(library_->Check(library_->ComputeCapability(device, &major, &minor),
                                     "nvmlDeviceGetCudaComputeCapability"));
  WF_RETURN_IF_ERROR(
      library_->Check(library_->Memory(device, &memory), "nvmlDeviceGetMemoryInfo_v2"));
  v1::Gpu& gpu = gpus_.emplace_back();
  gpu.set_index(static_cast<int>(index));
  gpu.set_uuid(uuid.data());
  gpu.set_model(name.data());
  gpu.set_memory_bytes(static_cast<int64_t>(memory.total - memory.reserved));
  gpu.set_compute_capability(10 * major + minor);
  gpu.set_driver_version(driver_version);
  handles_.push_back(device);
  return absl::OkStatus();
}

void Nvml::WatchErrors() {
  if (gpus_.empty() || library_->EventSetCreate(&errors_) != kSuccess) return;
  for (Device device : handles_) {
    if (library_->RegisterEvents(device, kXidEvents, errors_) != kSuccess) {
      spdlog::info("the driver does not tell the Xid errors of every GPU");
    }
  }
}

void Nvml::CollectErrors() {
  EventData event{};
  while (errors_ != nullptr && library_->EventSetWait(errors_, &event, 0) == kSuccess) {
    for (size_t i = 0; i < handles_.size(); ++i) {
      if (handles_[i] != event.device) continue;
      last_xid_[i] = static_cast<int64_t>(event.data);
      spdlog::error("GPU {} ({}): Xid {}", gpus_[i].index(), gpus_[i].uuid(), last_xid_[i]);
    }
  }
}

v1::GpuTelemetry Nvml::Read(size_t gpu) {
  const Device device = handles_.at(gpu);
  v1::GpuTelemetry telemetry;
  MemoryInfo memory{.version = kMemoryInfoVersion};
  if (library_->Memory(device, &memory) == kSuccess) {
    telemetry.set_memory_used_bytes(static_cast<int64_t>(memory.used));
  }
  Utilization utilization{};
  if (library_->UtilizationRates(device, &utilization) == kSuccess) {
    telemetry.set_utilization(utilization.gpu / 100.0);
  }
  unsigned value = 0;
  if (library_->Temperature(device, kGpuTemperature, &value) == kSuccess) {
    telemetry.set_temperature_celsius(value);
  }
  if (library_->Power(device, &value) == kSuccess) telemetry.set_power_watts(value / 1000.0);
  unsigned long long errors = 0;
  if (library_->EccErrors(device, kUncorrectedErrors, kSinceDriverLoad, &errors) == kSuccess) {
    telemetry.set_uncorrected_ecc_errors(static_cast<int64_t>(errors));
  }
  unsigned long long reasons = 0;
  if (library_->ThrottleReasons != nullptr &&
      library_->ThrottleReasons(device, &reasons) == kSuccess) {
    telemetry.set_throttled((reasons & kThrottled) != 0);
  }
  const absl::MutexLock lock(&mutex_);
  CollectErrors();
  telemetry.set_last_xid(last_xid_[gpu]);
  return telemetry;
}

}  // namespace wavefield
