#include "coordinator/metrics/coordinator_metrics.h"

#include "absl/time/clock.h"
#include "core/base/version.h"

namespace wavefield::coordinator {
namespace {

template <typename Builder>
auto& Add(const Builder& builder, prometheus::Registry& registry, const char* name,
          const char* help) {
  return Builder(builder).Name(name).Help(help).Register(registry);
}

const prometheus::Histogram::BucketBoundaries kLatencyBuckets = {
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30};

}  // namespace

CoordinatorMetrics::CoordinatorMetrics(prometheus::Registry& registry)
    : jobs(Add(prometheus::BuildGauge(), registry, "wavefield_jobs", "Jobs by state.")),
      workers(Add(prometheus::BuildGauge(), registry, "wavefield_workers", "Workers by state.")),
      worker_slots(Add(prometheus::BuildGauge(), registry, "wavefield_worker_slots",
                       "Slots of ready workers, free and used, by device.")),
      gpu_available(Add(prometheus::BuildGauge(), registry, "wavefield_gpu_available",
                        "1 if ranks can be given to the GPU, 0 if something is in the way.")),
      gpu_memory(Add(prometheus::BuildGauge(), registry, "wavefield_gpu_memory_bytes",
                     "Memory of the GPU that ranks may use.")),
      gpu_memory_used(Add(prometheus::BuildGauge(), registry, "wavefield_gpu_memory_used_bytes",
                          "Memory of the GPU in use, by whomever.")),
      gpu_utilization(Add(prometheus::BuildGauge(), registry, "wavefield_gpu_utilization_ratio",
                          "Share of the time in which a kernel ran.")),
      gpu_temperature(Add(prometheus::BuildGauge(), registry, "wavefield_gpu_temperature_celsius",
                          "Temperature of the GPU.")),
      gpu_power(Add(prometheus::BuildGauge(), registry, "wavefield_gpu_power_watts",
                    "Power that the GPU draws.")),
      gpu_ecc_errors(Add(prometheus::BuildGauge(), registry, "wavefield_gpu_uncorrected_ecc_errors",
                         "Memory errors that could not be corrected, since the driver's start.")),
      gpu_last_xid(
          Add(prometheus::BuildGauge(), registry, "wavefield_gpu_last_xid",
              "The driver's last critical error (Xid) since the worker's start; 0: none.")),
      loss(Add(prometheus::BuildGauge(), registry, "wavefield_training_loss",
               "Training loss of the last step, nats per token.")),
      perplexity(Add(prometheus::BuildGauge(), registry, "wavefield_training_perplexity",
                     "exp(loss) of the last step.")),
      evaluation_loss(Add(prometheus::BuildGauge(), registry, "wavefield_training_evaluation_loss",
                          "Loss of the last evaluation on held-out text, nats per token.")),
      learning_rate(Add(prometheus::BuildGauge(), registry, "wavefield_training_learning_rate",
                        "Learning rate of the last step.")),
      grad_norm(Add(prometheus::BuildGauge(), registry, "wavefield_training_grad_norm",
                    "Global gradient norm of the last step, before clipping.")),
      step(Add(prometheus::BuildGauge(), registry, "wavefield_training_step",
               "Optimizer steps that are done.")),
      token_rate(Add(prometheus::BuildGauge(), registry, "wavefield_training_tokens_per_second",
                     "Target tokens per second of the last step, all ranks.")),
      matmul_rate_ratio(Add(prometheus::BuildGauge(), registry,
                            "wavefield_training_matmul_rate_ratio",
                            "Model FLOP/s over the measured rate of a matrix product.")),
      tokens(Add(prometheus::BuildCounter(), registry, "wavefield_training_tokens_total",
                 "Target tokens trained on.")),
      restarts(Add(prometheus::BuildCounter(), registry, "wavefield_training_restarts_total",
                   "Attempts after the first.")),
      non_finite_steps(Add(prometheus::BuildCounter(), registry,
                           "wavefield_training_non_finite_steps_total",
                           "Steps whose loss or gradient norm was not finite.")),
      rpc_seconds(Add(prometheus::BuildHistogram(), registry, "wavefield_rpc_duration_seconds",
                      "Duration of RPCs by method and code; of streams, their whole life.")),
      unauthenticated(Add(prometheus::BuildCounter(), registry,
                          "wavefield_rpc_unauthenticated_total",
                          "RPCs refused for want of a valid token.")
                          .Add({})),
      commit_seconds(Add(prometheus::BuildHistogram(), registry,
                         "wavefield_store_commit_duration_seconds",
                         "Duration of the store's commits, disk included.")
                         .Add({}, kLatencyBuckets)) {
  Add(prometheus::BuildGauge(), registry, "wavefield_build_info", "Version of the coordinator.")
      .Add({{"version", kVersion}})
      .Set(1);
  Add(prometheus::BuildGauge(), registry, "process_start_time_seconds",
      "Start of the process, seconds since the epoch.")
      .Add({})
      .Set(absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch()));
}

void CoordinatorMetrics::ObserveRpc(const std::string& method, const std::string& code,
                                    absl::Duration duration) {
  rpc_seconds.Add({{"method", method}, {"code", code}}, kLatencyBuckets)
      .Observe(absl::ToDoubleSeconds(duration));
}

}  // namespace wavefield::coordinator
