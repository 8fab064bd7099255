#include "coordinator/server/scheduler_flags.h"

#include <string>
#include <vector>

#include "coordinator/scheduler/quotas.h"

namespace wavefield::coordinator {

void AddSchedulerFlags(CLI::App& app, SchedulerOptions& options) {
  app.add_option("--priority-aging", options.aging,
                 "points that a queued job's priority gains for each hour, up to 500")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 1e6));
  app.add_option(
         "--preemption-margin", options.preemption_margin,
         "a job takes the slots of running ones whose priority is lower by so much; 0: never")
      ->capture_default_str()
      ->check(CLI::Range(0, 1'000'000));
  app.add_option_function<std::vector<std::string>>(
         "--quota",
         [&options](const std::vector<std::string>& texts) {
           auto quotas = ParseQuotas(texts);
           if (!quotas.ok()) throw CLI::ValidationError(std::string(quotas.status().message()));
           options.quotas = *std::move(quotas);
         },
         "KEY=VALUE:SLOTS: slots that jobs with this label may hold together; VALUE * stands for "
         "each value. Can be given several times")
      ->take_all();
}

}  // namespace wavefield::coordinator
