// A stand-in for NVIDIA's management library: answers from the JSON file that the environment
// variable WAVEFIELD_EMULATED_NVML names, read anew at every question.
//
//   {"init": 0, "driver": "580.65.06", "cuda": 13000,
//    "gpus": [{"uuid": "GPU-a", "name": "Emulated", "capability": 90, "memory": 8589934592,
//              "reserved": 0, "used": 0, "utilization": 0, "temperature": 30, "power": 90000,
//              "ecc": 0, "xid": 0, "throttle_reasons": 0}]}
//
// A number that a GPU's entry lacks is not supported by it; an xid that is not 0 comes as an event
// each time it changes.

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>

namespace {

using Result = int;
constexpr Result kSuccess = 0;
constexpr Result kInvalidArgument = 2;
constexpr Result kNotSupported = 3;
constexpr Result kNotFound = 6;
constexpr Result kInsufficientSize = 7;
constexpr Result kTimeout = 10;

struct MemoryInfo {
  unsigned version;
  unsigned long long total, reserved, free, used;
};
struct Utilization {
  unsigned gpu, memory;
};
struct EventData {
  void* device;
  unsigned long long type, data;
  unsigned gpu_instance, compute_instance;
};

std::mutex mutex;
std::map<size_t, long> told_xids;

nlohmann::json State() {
  const char* const path = std::getenv("WAVEFIELD_EMULATED_NVML");
  std::ifstream file(path == nullptr ? "" : path);
  const auto state = nlohmann::json::parse(file, nullptr, false);
  return state.is_object() ? state : nlohmann::json{{"init", 999}};
}

// Devices are their index + 1.
size_t IndexOf(void* device) { return reinterpret_cast<size_t>(device) - 1; }

template <typename T, typename Out>
Result Answer(void* device, const char* key, Out* out) {
  const auto state = State();
  const auto& gpus = state.at("gpus");
  if (IndexOf(device) >= gpus.size()) return kInvalidArgument;
  const auto& gpu = gpus[IndexOf(device)];
  if (!gpu.contains(key)) return kNotSupported;
  *out = static_cast<Out>(gpu.at(key).get<T>());
  return kSuccess;
}

Result CopyText(const std::string& text, char* out, unsigned size) {
  if (text.size() + 1 > size) return kInsufficientSize;
  std::memcpy(out, text.c_str(), text.size() + 1);
  return kSuccess;
}

Result Text(void* device, const char* key, char* out, unsigned size) {
  std::string text;
  const Result result = Answer<std::string>(device, key, &text);
  return result == kSuccess ? CopyText(text, out, size) : result;
}

}  // namespace

extern "C" {

Result nvmlInit_v2() { return State().value("init", kSuccess); }
Result nvmlShutdown() { return kSuccess; }
const char* nvmlErrorString(Result result) {
  return result == 18 ? "Driver/library version mismatch" : "an emulated error";
}
Result nvmlSystemGetDriverVersion(char* version, unsigned size) {
  return CopyText(State().at("driver").get<std::string>(), version, size);
}
Result nvmlSystemGetCudaDriverVersion_v2(int* version) {
  *version = State().at("cuda").get<int>();
  return kSuccess;
}
Result nvmlDeviceGetCount_v2(unsigned* count) {
  *count = static_cast<unsigned>(State().at("gpus").size());
  return kSuccess;
}
Result nvmlDeviceGetHandleByIndex_v2(unsigned index, void** device) {
  if (index >= State().at("gpus").size()) return kInvalidArgument;
  *device = reinterpret_cast<void*>(static_cast<size_t>(index) + 1);
  return kSuccess;
}
Result nvmlDeviceGetName(void* device, char* name, unsigned size) {
  return Text(device, "name", name, size);
}
Result nvmlDeviceGetUUID(void* device, char* uuid, unsigned size) {
  return Text(device, "uuid", uuid, size);
}
Result nvmlDeviceGetCudaComputeCapability(void* device, int* major, int* minor) {
  int capability = 0;
  const Result result = Answer<int>(device, "capability", &capability);
  *major = capability / 10;
  *minor = capability % 10;
  return result;
}
Result nvmlDeviceGetMemoryInfo_v2(void* device, MemoryInfo* info) {
  if (info->version != (sizeof(MemoryInfo) | (2u << 24))) return kInvalidArgument;
  info->reserved = info->used = 0;
  Answer<unsigned long long>(device, "reserved", &info->reserved);
  Answer<unsigned long long>(device, "used", &info->used);
  const Result result = Answer<unsigned long long>(device, "memory", &info->total);
  if (result == kSuccess) info->free = info->total - info->reserved - info->used;
  return result;
}
Result nvmlDeviceGetUtilizationRates(void* device, Utilization* utilization) {
  return Answer<unsigned>(device, "utilization", &utilization->gpu);
}
Result nvmlDeviceGetTemperature(void* device, unsigned sensor, unsigned* celsius) {
  return sensor == 0 ? Answer<unsigned>(device, "temperature", celsius) : kInvalidArgument;
}
Result nvmlDeviceGetPowerUsage(void* device, unsigned* milliwatts) {
  return Answer<unsigned>(device, "power", milliwatts);
}
Result nvmlDeviceGetTotalEccErrors(void* device, int type, int counter, unsigned long long* count) {
  if (type != 1 || counter != 0) return kInvalidArgument;
  return Answer<unsigned long long>(device, "ecc", count);
}
Result nvmlDeviceGetCurrentClocksThrottleReasons(void* device, unsigned long long* reasons) {
  return Answer<unsigned long long>(device, "throttle_reasons", reasons);
}
Result nvmlEventSetCreate(void** set) {
  *set = &told_xids;
  return kSuccess;
}
Result nvmlEventSetFree(void* set) { return set == &told_xids ? kSuccess : kNotFound; }
Result nvmlDeviceRegisterEvents(void* device, unsigned long long types, void* set) {
  if (types != 8 || set != &told_xids) return kInvalidArgument;
  const std::lock_guard lock(mutex);
  told_xids[IndexOf(device)] = 0;
  return kSuccess;
}
Result nvmlEventSetWait_v2(void* set, EventData* event, unsigned) {
  if (set != &told_xids) return kNotFound;
  const std::lock_guard lock(mutex);
  for (auto& [index, told] : told_xids) {
    void* const device = reinterpret_cast<void*>(index + 1);
    long xid = 0;
    if (Answer<long>(device, "xid", &xid) != kSuccess || xid == told) continue;
    told = xid;
    *event = {device, 8, static_cast<unsigned long long>(xid), 0, 0};
    return kSuccess;
  }
  return kTimeout;
}

}  // extern "C"
