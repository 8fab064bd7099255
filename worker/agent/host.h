#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// What a worker finds out about the machine it is on.
namespace wavefield {

// The host's name, made a valid worker id.
std::string DefaultWorkerName();
// INVALID_ARGUMENT unless `name` is [a-z][a-z0-9.-]{0,62}.
absl::Status CheckWorkerName(const std::string& name);

// That this process may run on.
int HardwareThreads();
// Bytes of memory this process may use: the machine's, or its control group's limit.
int64_t TotalMemory();

// The address of the interface that packets to `coordinator` (host:port) leave by; 127.0.0.1 when
// that is this machine.
absl::StatusOr<std::string> AddressTowards(const std::string& coordinator);

// FLOP/s of a 2048³ fp32 matrix product on `threads` threads, as `wavefield-trainer rate` tells it.
// Takes seconds; CANCELLED soon after `cancelled` became true.
absl::StatusOr<double> MeasureSlotRate(const std::filesystem::path& trainer_program, int threads,
                                       const std::function<bool()>& cancelled);

}  // namespace wavefield
