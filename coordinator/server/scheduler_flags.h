#pragma once

#include <CLI/CLI.hpp>

#include "coordinator/scheduler/snapshot.h"

namespace wavefield::coordinator {

// --priority-aging, --preemption-margin and --quota. `options` must outlive the parsing.
void AddSchedulerFlags(CLI::App& app, SchedulerOptions& options);

}  // namespace wavefield::coordinator
