#include "cli/views/worker_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "absl/strings/str_replace.h"
#include "cli/resource_names.h"
#include "cli/views/display_text.h"
#include "cli/views/format.h"
#include "cli/views/table.h"
#include "proto/rpc/json.h"

namespace wavefield {
namespace {

// "READY", "READY, cordoned: new disk", "READY, draining".
std::string StateText(const v1::Worker& worker) {
  std::string text =
      absl::StrReplaceAll(v1::WorkerState_Name(worker.state()), {{"WORKER_STATE_", ""}});
  if (worker.draining()) {
    text += ", draining";
  } else if (worker.cordoned()) {
    text += ", cordoned";
  }
  const bool has_note = worker.cordoned() || worker.draining();
  return has_note && !worker.cordon_note().empty() ? text + ": " + worker.cordon_note() : text;
}

Color StateColor(const v1::Worker& worker) {
  if (worker.state() != v1::WORKER_STATE_READY) return Color::kRed;
  return worker.cordoned() || worker.draining() ? Color::kYellow : Color::kGreen;
}

std::string FormatHosts(const v1::ListWorkersResponse& workers, const ViewStyle& style) {
  std::vector<Column> columns = {{"WORKER"},
                                 {"STATE"},
                                 {"DEVICE"},
                                 {"SLOTS", Align::kRight},
                                 {"USED", Align::kRight},
                                 {"THREADS", Align::kRight},
                                 {"MEMORY/SLOT", Align::kRight},
                                 {"FLOP/S", Align::kRight},
                                 {"HEARTBEAT", Align::kRight},
                                 {"ADDRESS"},
                                 {"VERSION"}};
  if (style.wide) columns.push_back({"CLOCK", Align::kRight});
  Table table(std::move(columns));
  for (const v1::Worker& worker : workers.workers()) {
    const double age = static_cast<double>(worker.heartbeat_age().seconds()) +
                       1e-9 * worker.heartbeat_age().nanos();
    std::vector<Cell> cells = {ResourceId(worker.name()),
                               {StateText(worker), StateColor(worker)},
                               worker.device(),
                               std::to_string(worker.slots()),
                               std::to_string(worker.used_slots()),
                               std::to_string(worker.threads_per_slot()),
                               FormatBytes(static_cast<double>(worker.memory_per_slot())),
                               FormatCompact(worker.matmul_rate()),
                               FormatDuration(age) + " ago",
                               worker.address(),
                               worker.version()};
    if (style.wide) {
      const double difference = static_cast<double>(worker.clock_difference().seconds()) +
                                1e-9 * worker.clock_difference().nanos();
      cells.emplace_back(fmt::format("{:+.3f} s", difference));
    }
    table.AddRow(std::move(cells));
  }
  return table.ToString(style.colors);
}

// "free", "jobs/a", or why no rank is given to it.
std::string GpuState(const v1::Gpu& gpu) {
  if (!gpu.holder().empty()) return gpu.holder();
  if (gpu.unavailable().empty()) return "free";
  return (gpu.slot() < 0 ? "not offered: " : "held: ") + gpu.unavailable();
}

std::string FormatGpus(const v1::ListWorkersResponse& workers, const ViewStyle& style) {
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
  return table.ToString(style.colors);
}

bool HasGpus(const v1::ListWorkersResponse& workers) {
  return std::any_of(workers.workers().begin(), workers.workers().end(),
                     [](const v1::Worker& worker) { return worker.gpus_size() > 0; });
}

}  // namespace

std::string FormatWorkers(const v1::ListWorkersResponse& workers, const ViewStyle& style) {
  const std::string hosts = FormatHosts(workers, style);
  return HasGpus(workers) ? hosts + "\n" + FormatGpus(workers, style) : hosts;
}

std::string FormatWorkerLine(const v1::Worker& worker) {
  return OnOneLine(fmt::format("{} {}; {} of {} slots used", ResourceId(worker.name()),
                               StateText(worker), worker.used_slots(), worker.slots()));
}

void PrintWorker(const v1::Worker& worker, bool json) {
  std::printf("%s",
              json ? ToJson(worker, true).c_str() : (FormatWorkerLine(worker) + "\n").c_str());
}

}  // namespace wavefield
