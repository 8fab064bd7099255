#include <algorithm>
#include <cstdio>
#include <memory>

#include "absl/strings/str_replace.h"
#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/format.h"
#include "cli/paging.h"
#include "cli/resource_names.h"
#include "cli/table.h"
#include "core/base/status_macros.h"
#include "proto/rpc/json.h"
#include "wavefield/v1/worker_service.grpc.pb.h"

namespace wavefield {
namespace {

std::string FormatWorkers(const v1::ListWorkersResponse& workers) {
  Table table({{"WORKER"},
               {"STATE"},
               {"DEVICE"},
               {"SLOTS", Align::kRight},
               {"USED", Align::kRight},
               {"THREADS", Align::kRight},
               {"MEMORY/SLOT", Align::kRight},
               {"FLOP/S", Align::kRight},
               {"HEARTBEAT", Align::kRight},
               {"ADDRESS"},
               {"VERSION"}});
  for (const v1::Worker& worker : workers.workers()) {
    const std::string state =
        absl::StrReplaceAll(v1::WorkerState_Name(worker.state()), {{"WORKER_STATE_", ""}});
    const double age = static_cast<double>(worker.heartbeat_age().seconds()) +
                       1e-9 * worker.heartbeat_age().nanos();
    table.AddRow({ResourceId(worker.name()), state, worker.device(), std::to_string(worker.slots()),
                  std::to_string(worker.used_slots()), std::to_string(worker.threads_per_slot()),
                  FormatBytes(static_cast<double>(worker.memory_per_slot())),
                  FormatCompact(worker.matmul_rate()), FormatDuration(age) + " ago",
                  worker.address(), worker.version()});
  }
  return table.ToString();
}

// "free", "jobs/a", or why no rank is given to it.
std::string GpuState(const v1::Gpu& gpu) {
  if (!gpu.holder().empty()) return gpu.holder();
  if (gpu.unavailable().empty()) return "free";
  return (gpu.slot() < 0 ? "not offered: " : "held: ") + gpu.unavailable();
}

std::string FormatGpus(const v1::ListWorkersResponse& workers) {
  Table table({{"WORKER"},
               {"GPU", Align::kRight},
               {"MODEL"},
               {"MEMORY", Align::kRight},
               {"USED", Align::kRight},
               {"BUSY", Align::kRight},
               {"TEMPERATURE", Align::kRight},
               {"POWER", Align::kRight},
               {"ECC", Align::kRight},
               {"XID", Align::kRight},
               {"DRIVER"},
               {"STATE"}});
  for (const v1::Worker& worker : workers.workers()) {
    for (const v1::Gpu& gpu : worker.gpus()) {
      const v1::GpuTelemetry& now = gpu.telemetry();
      const auto known = [](bool has, const std::string& text) {
        return has ? text : std::string("-");
      };
      table.AddRow(
          {ResourceId(worker.name()), std::to_string(gpu.index()), gpu.model(),
           FormatBytes(static_cast<double>(gpu.memory_bytes())),
           known(now.has_memory_used_bytes(),
                 FormatBytes(static_cast<double>(now.memory_used_bytes()))),
           known(now.has_utilization(), FormatFixed(100 * now.utilization(), 0) + " %"),
           known(now.has_temperature_celsius(), FormatFixed(now.temperature_celsius(), 0) + " °C"),
           known(now.has_power_watts(), FormatFixed(now.power_watts(), 0) + " W"),
           known(now.has_uncorrected_ecc_errors(), std::to_string(now.uncorrected_ecc_errors())),
           known(now.last_xid() != 0, std::to_string(now.last_xid())), gpu.driver_version(),
           GpuState(gpu)});
    }
  }
  return table.ToString();
}

bool HasGpus(const v1::ListWorkersResponse& workers) {
  return std::any_of(workers.workers().begin(), workers.workers().end(),
                     [](const v1::Worker& worker) { return worker.gpus_size() > 0; });
}

absl::StatusOr<int> Run(bool json, const ConnectionFlags& connection) {
  WF_ASSIGN_OR_RETURN(const Session session, Session::Open(connection));
  v1::ListWorkersResponse all;
  WF_RETURN_IF_ERROR(ForEachPage(session, &v1::WorkerService::Stub::ListWorkers,
                                 v1::ListWorkersRequest(),
                                 [&](const v1::ListWorkersResponse& page) {
                                   all.mutable_workers()->MergeFrom(page.workers());
                                 }));
  if (json) {
    std::printf("%s", ToJson(all, true).c_str());
  } else if (all.workers().empty()) {
    std::fprintf(stderr, "No workers. Start 'wavefield-worker' on the hosts that shall train.\n");
  } else {
    std::printf("%s", FormatWorkers(all).c_str());
    if (HasGpus(all)) std::printf("\n%s", FormatGpus(all).c_str());
  }
  return kExitSuccess;
}

}  // namespace

void AddWorkersCommand(CLI::App& parent, CommandContext& context) {
  const auto json = std::make_shared<bool>(false);
  CLI::App* command = parent.add_subcommand("workers", "List the hosts that train");
  command->add_flag("--json", *json, "print a ListWorkersResponse as JSON");
  context.OnCommand(command, [&context, json] { return Run(*json, context.connection); });
}

}  // namespace wavefield
