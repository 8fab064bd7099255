#pragma once

#include <signal.h>

#include <cstdint>
#include <filesystem>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "core/base/logging.h"
#include "proto/rpc/channel.h"

namespace wavefield {

// What the command line says; empty and 0: to be found out.
struct WorkerFlags {
  ConnectionOptions connection;
  std::string name;
  std::filesystem::path data_dir;
  std::filesystem::path storage_root;
  int slots = 0;
  int threads_per_slot = 1;
  int64_t memory_per_slot = 0;
  std::string gpus = "all";
  std::string advertise_address;
  LogOptions logging;  // of the trainers too
  absl::Duration orphan_timeout = absl::Hours(24);
  absl::Duration drain_timeout = absl::Seconds(30);
};

// Runs a worker until one of `signals`, which all threads must block, is sent to the process.
// Prints "ready NAME" once it is registered.
absl::Status RunWorker(const WorkerFlags& flags, const sigset_t& signals);

}  // namespace wavefield
