#include "coordinator/metrics/coordinator_metrics.h"

#include "coordinator/metrics/declarations.h"

namespace wavefield::coordinator {
namespace {

template <typename Builder>
auto& Register(Builder builder, prometheus::Registry& registry, const Metric& metric) {
  return builder.Name(metric.name).Help(metric.help).Register(registry);
}

prometheus::Histogram::BucketBoundaries BucketsOf(const Metric& metric) {
  return {metric.buckets.begin(), metric.buckets.end()};
}

prometheus::Histogram& AddHistogram(prometheus::Registry& registry, const Metric& metric) {
  return Register(prometheus::BuildHistogram(), registry, metric).Add({}, BucketsOf(metric));
}

prometheus::Counter& AddCounter(prometheus::Registry& registry, const Metric& metric) {
  return Register(prometheus::BuildCounter(), registry, metric).Add({});
}

}  // namespace

CoordinatorMetrics::CoordinatorMetrics(prometheus::Registry& registry)
    : rpc_seconds(Register(prometheus::BuildHistogram(), registry, metric::kRpcDuration)),
      unauthenticated(AddCounter(registry, metric::kUnauthenticated)),
      commit_seconds(AddHistogram(registry, metric::kCommitDuration)),
      scheduler_pass_seconds(AddHistogram(registry, metric::kSchedulerPass)),
      queue_wait_seconds(AddHistogram(registry, metric::kQueueWait)),
      checkpoint_save_seconds(AddHistogram(registry, metric::kCheckpointSaveDuration)),
      workers_lost(AddCounter(registry, metric::kWorkersLost)),
      watches(Register(prometheus::BuildGauge(), registry, metric::kWatches).Add({})) {}

void CoordinatorMetrics::ObserveRpc(const std::string& method, const std::string& code,
                                    absl::Duration duration) {
  rpc_seconds.Add({{"method", method}, {"code", code}}, BucketsOf(metric::kRpcDuration))
      .Observe(absl::ToDoubleSeconds(duration));
}

}  // namespace wavefield::coordinator
