#pragma once

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <string>

#include "absl/time/time.h"

namespace wavefield::coordinator {

// Every metric of the coordinator, with its name and labels. Thread-safe as the families are.
struct CoordinatorMetrics {
  template <typename Metric>
  using Family = prometheus::Family<Metric>;
  using Gauge = prometheus::Gauge;
  using Counter = prometheus::Counter;
  using Histogram = prometheus::Histogram;

  explicit CoordinatorMetrics(prometheus::Registry& registry);

  Family<Gauge>& jobs;          // {state}
  Family<Gauge>& workers;       // {state}
  Family<Gauge>& worker_slots;  // {device, state: free, used}

  // {worker, gpu}; gone when the worker is.
  Family<Gauge>& gpu_available;
  Family<Gauge>& gpu_memory;
  Family<Gauge>& gpu_memory_used;
  Family<Gauge>& gpu_utilization;
  Family<Gauge>& gpu_temperature;
  Family<Gauge>& gpu_power;
  Family<Gauge>& gpu_ecc_errors;
  Family<Gauge>& gpu_last_xid;

  // {training_job}; gone a while after the job ended.
  Family<Gauge>& loss;
  Family<Gauge>& perplexity;
  Family<Gauge>& evaluation_loss;
  Family<Gauge>& learning_rate;
  Family<Gauge>& grad_norm;
  Family<Gauge>& step;
  Family<Gauge>& token_rate;
  Family<Gauge>& matmul_rate_ratio;
  Family<Counter>& tokens;
  Family<Counter>& restarts;
  Family<Counter>& non_finite_steps;

  Family<Histogram>& rpc_seconds;  // {method, code}
  Counter& unauthenticated;
  Histogram& commit_seconds;

  void ObserveRpc(const std::string& method, const std::string& code, absl::Duration duration);
};

}  // namespace wavefield::coordinator
