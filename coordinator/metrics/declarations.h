#pragma once

#include <span>

namespace wavefield::coordinator {

// A family of series: what the page says of all of them.
struct Metric {
  enum class Type { kGauge, kCounter, kHistogram };

  Type type;
  const char* name;
  const char* help;
  std::span<const double> buckets =
      {};  // of a histogram: upper bounds, ascending, without infinity
};

// Every metric of the coordinator; docs/metrics.md has the labels.
namespace metric {

inline constexpr auto kGauge = Metric::Type::kGauge;
inline constexpr auto kCounter = Metric::Type::kCounter;
inline constexpr auto kHistogram = Metric::Type::kHistogram;

inline constexpr double kLatencyBuckets[] = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                             0.25,   0.5,   1,      2.5,   5,    10,    30};
inline constexpr double kStepBuckets[] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1,
                                          2.5,   5,    10,    30,   60,  120,  300};
inline constexpr double kWaitBuckets[] = {0.5, 1,   2.5,  5,    10,   30,    60,
                                          300, 900, 1800, 3600, 7200, 21600, 86400};

// Jobs.
inline constexpr Metric kJobs{kGauge, "wavefield_jobs", "Jobs by state and reason."};
inline constexpr Metric kQueueWait{
    kHistogram, "wavefield_job_queue_wait_seconds",
    "From the wish to run (creation, or the end of the attempt before) to the attempt's start.",
    kWaitBuckets};
inline constexpr Metric kTrainingInfo{kGauge, "wavefield_training_info",
                                      "What the job trains on; 1."};
inline constexpr Metric kTrainingState{kGauge, "wavefield_training_state",
                                       "1 for the state that the job is in."};
inline constexpr Metric kAttempts{kCounter, "wavefield_training_attempts_total", "Attempts begun."};
inline constexpr Metric kRestarts{kCounter, "wavefield_training_restarts_total",
                                  "Attempts that failed and were followed by another, by cause."};
inline constexpr Metric kStep{kGauge, "wavefield_training_step", "Optimizer steps that are done."};
inline constexpr Metric kMaxSteps{kGauge, "wavefield_training_max_steps",
                                  "Optimizer steps at which the budget ends."};
inline constexpr Metric kLastStepTime{
    kGauge, "wavefield_training_last_step_timestamp_seconds",
    "When the last step was reported, by the coordinator's clock."};
inline constexpr Metric kLoss{kGauge, "wavefield_training_loss",
                              "Training loss of the last step, nats per token."};
inline constexpr Metric kPerplexity{kGauge, "wavefield_training_perplexity",
                                    "exp(loss) of the last step."};
inline constexpr Metric kAccuracy{
    kGauge, "wavefield_training_accuracy",
    "Share of the last step's positions whose argmax was the target."};
inline constexpr Metric kLearningRate{kGauge, "wavefield_training_learning_rate",
                                      "Learning rate of the last step."};
inline constexpr Metric kGradNorm{kGauge, "wavefield_training_grad_norm",
                                  "Global gradient norm of the last step, before clipping."};
inline constexpr Metric kTokens{kCounter, "wavefield_training_tokens_total",
                                "Target tokens trained on."};
inline constexpr Metric kTokenRate{kGauge, "wavefield_training_tokens_per_second",
                                   "Target tokens per second of the last step, all ranks."};
inline constexpr Metric kMatmulRateRatio{
    kGauge, "wavefield_training_matmul_rate_ratio",
    "Model FLOP/s over the measured rate of a matrix product."};
inline constexpr Metric kStepDuration{kHistogram, "wavefield_training_step_duration_seconds",
                                      "Duration of steps.", kStepBuckets};
inline constexpr Metric kPhaseTime{kCounter, "wavefield_training_phase_seconds_total",
                                   "Time of steps by phase, mean over the ranks."};
inline constexpr Metric kRankSkew{kGauge, "wavefield_training_rank_skew_seconds",
                                  "Slowest rank minus fastest, of the last step."};
inline constexpr Metric kNonFiniteSteps{kCounter, "wavefield_training_non_finite_steps_total",
                                        "Steps whose loss or gradient norm was not finite."};
inline constexpr Metric kLossSpikes{
    kCounter, "wavefield_training_loss_spikes_total",
    "Steps whose loss lay more than 6 standard deviations above its recent mean."};
inline constexpr Metric kEvaluationLoss{
    kGauge, "wavefield_training_evaluation_loss",
    "Loss of the last evaluation on held-out text, nats per token."};
inline constexpr Metric kEvaluationPerplexity{kGauge, "wavefield_training_evaluation_perplexity",
                                              "exp(loss) of the last evaluation."};
inline constexpr Metric kEvaluationBitsPerByte{kGauge, "wavefield_training_evaluation_bpb",
                                               "Bits per byte of text of the last evaluation."};
inline constexpr Metric kEvaluationAccuracy{
    kGauge, "wavefield_training_evaluation_accuracy",
    "Share of the last evaluation's positions whose argmax was the target."};
inline constexpr Metric kEvaluationEmaLoss{
    kGauge, "wavefield_training_evaluation_ema_loss",
    "Loss of the weights' moving average at the last evaluation, nats per token."};
inline constexpr Metric kEvaluationDuration{
    kGauge, "wavefield_training_evaluation_duration_seconds", "Duration of the last evaluation."};
inline constexpr Metric kGoodput{kCounter, "wavefield_goodput_slot_seconds_total",
                                 "Time of slots that the job held, by what it went into."};

// Checkpoints and storage.
inline constexpr Metric kCheckpointSaveDuration{
    kHistogram, "wavefield_checkpoint_save_duration_seconds",
    "Time that a step loop waited for a save.", kWaitBuckets};
inline constexpr Metric kCheckpointStall{kGauge, "wavefield_training_checkpoint_stall_seconds",
                                         "Time that the step loop waited for the last save."};
inline constexpr Metric kCheckpointSize{kGauge, "wavefield_training_checkpoint_size_bytes",
                                        "Size of the newest committed checkpoint."};
inline constexpr Metric kCheckpointStep{kGauge, "wavefield_training_checkpoint_step",
                                        "Step of the newest committed checkpoint."};
inline constexpr Metric kCheckpointTime{kGauge, "wavefield_training_checkpoint_timestamp_seconds",
                                        "When the newest checkpoint was committed."};
inline constexpr Metric kCheckpoints{kCounter, "wavefield_training_checkpoints_total",
                                     "Checkpoints committed."};
inline constexpr Metric kCheckpointFailures{kCounter,
                                            "wavefield_training_checkpoint_failures_total",
                                            "Checkpoints that were due and could not be written."};
inline constexpr Metric kVerificationFailures{
    kCounter, "wavefield_training_checkpoint_verification_failures_total",
    "Checkpoints that a restart refused because they did not verify."};
inline constexpr Metric kDiskSize{kGauge, "wavefield_disk_size_bytes",
                                  "Size of the file systems of the coordinator's directories."};
inline constexpr Metric kDiskFree{
    kGauge, "wavefield_disk_free_bytes",
    "Free space in the file systems of the coordinator's directories."};

// Workers and GPUs.
inline constexpr Metric kWorkers{kGauge, "wavefield_workers", "Workers by state."};
inline constexpr Metric kWorkersLost{kCounter, "wavefield_workers_lost_total",
                                     "Workers whose lease ran out without an orderly end."};
inline constexpr Metric kWorkerSlots{kGauge, "wavefield_worker_slots",
                                     "Slots of ready workers, free and used, by device."};
inline constexpr Metric kWorkerUp{kGauge, "wavefield_worker_up",
                                  "1 while the worker's lease holds, 0 when it is lost."};
inline constexpr Metric kWorkerUsedSlots{kGauge, "wavefield_worker_used_slots",
                                         "Slots of the worker, of any device, that are held."};
inline constexpr Metric kHeartbeatAge{kGauge, "wavefield_worker_heartbeat_age_seconds",
                                      "Since the worker's last heartbeat."};
inline constexpr Metric kClockDifference{kGauge, "wavefield_worker_clock_difference_seconds",
                                         "The worker's clock minus the coordinator's."};
inline constexpr Metric kSpoolDepth{kGauge, "wavefield_worker_spool_depth",
                                    "Events that wait on the worker's disk."};
inline constexpr Metric kSpoolSize{
    kGauge, "wavefield_worker_spool_bytes",
    "Size of the spool's files; up to 4 MiB stay when nothing waits."};
inline constexpr Metric kCpuUtilization{
    kGauge, "wavefield_worker_cpu_utilization_ratio",
    "Share of the time of all CPUs of the host that was not idle."};
inline constexpr Metric kMemory{kGauge, "wavefield_worker_memory_bytes",
                                "Memory of the worker's host."};
inline constexpr Metric kMemoryUsed{kGauge, "wavefield_worker_memory_used_bytes",
                                    "Memory of the worker's host in use, by whomever."};
inline constexpr Metric kWorkerDiskSize{kGauge, "wavefield_worker_disk_size_bytes",
                                        "Size of the file system of the worker's state directory."};
inline constexpr Metric kWorkerDiskFree{
    kGauge, "wavefield_worker_disk_free_bytes",
    "Free space in the file system of the worker's state directory."};
inline constexpr Metric kGpuAvailable{
    kGauge, "wavefield_gpu_available",
    "1 if ranks can be given to the GPU, 0 if something is in the way."};
inline constexpr Metric kGpuInfo{kGauge, "wavefield_gpu_info", "Model of the GPU; 1."};
inline constexpr Metric kGpuMemory{kGauge, "wavefield_gpu_memory_bytes",
                                   "Memory of the GPU that ranks may use."};
inline constexpr Metric kGpuMemoryUsed{kGauge, "wavefield_gpu_memory_used_bytes",
                                       "Memory of the GPU in use, by whomever."};
inline constexpr Metric kGpuUtilization{kGauge, "wavefield_gpu_utilization_ratio",
                                        "Share of the time in which a kernel ran."};
inline constexpr Metric kGpuTemperature{kGauge, "wavefield_gpu_temperature_celsius",
                                        "Temperature of the GPU."};
inline constexpr Metric kGpuPower{kGauge, "wavefield_gpu_power_watts", "Power that the GPU draws."};
inline constexpr Metric kGpuEccErrors{
    kGauge, "wavefield_gpu_uncorrected_ecc_errors",
    "Memory errors that could not be corrected, since the driver's start."};
inline constexpr Metric kGpuLastXid{
    kGauge, "wavefield_gpu_last_xid",
    "The driver's last critical error (Xid) since the worker's start; 0: none."};
inline constexpr Metric kGpuThrottled{
    kGauge, "wavefield_gpu_throttled",
    "1 while the driver slows the clock down for heat or the power supply's brake."};

// Field health.
inline constexpr Metric kTimeConstant{
    kGauge, "wavefield_field_time_constant_tokens",
    "1/lambda over tokens at the last evaluation; the median over heads."};
inline constexpr Metric kFrequency{
    kGauge, "wavefield_field_frequency_radians",
    "|omega| per token at the last evaluation; the median over heads."};
inline constexpr Metric kCouplingEntropy{
    kGauge, "wavefield_field_coupling_entropy_nats",
    "0: a head hears one head; ln(heads): all alike; the median over heads."};
inline constexpr Metric kResidualRms{kGauge, "wavefield_field_residual_rms",
                                     "RMS of the residual stream after the layer."};
inline constexpr Metric kMixerRms{kGauge, "wavefield_field_mixer_rms",
                                  "RMS of what the layer's mixer adds to the residual stream."};
inline constexpr Metric kGradientRms{kGauge, "wavefield_field_gradient_rms",
                                     "RMS of the gradient of the layer's parameters."};
inline constexpr Metric kUpdateRatio{kGauge, "wavefield_field_update_ratio",
                                     "Norm of the update of the layer's parameters over theirs."};

// The coordinator itself.
inline constexpr Metric kRpcDuration{
    kHistogram, "wavefield_rpc_duration_seconds",
    "Duration of RPCs by method and code; of streams, their whole life.", kLatencyBuckets};
inline constexpr Metric kUnauthenticated{kCounter, "wavefield_rpc_unauthenticated_total",
                                         "RPCs refused for want of a valid token."};
inline constexpr Metric kCommitDuration{kHistogram, "wavefield_store_commit_duration_seconds",
                                        "Duration of the store's commits, disk included.",
                                        kLatencyBuckets};
inline constexpr Metric kSchedulerPass{
    kHistogram, "wavefield_scheduler_pass_duration_seconds",
    "Duration of one pass over a queue with jobs in it, carried out.", kLatencyBuckets};
inline constexpr Metric kWatches{kGauge, "wavefield_watches",
                                 "Open watches of jobs and assignments."};
inline constexpr Metric kSeries{kGauge, "wavefield_metrics_series",
                                "Series of jobs, workers, GPUs and layers that are shown."};
inline constexpr Metric kSeriesDropped{
    kCounter, "wavefield_metrics_series_dropped_total",
    "Values left out because there were as many series as --metrics-max-series allows."};
inline constexpr Metric kBuildInfo{kGauge, "wavefield_build_info",
                                   "Version of the coordinator; 1."};
inline constexpr Metric kProcessStart{kGauge, "process_start_time_seconds",
                                      "Start of the process, seconds since the epoch."};
inline constexpr Metric kProcessCpu{kCounter, "process_cpu_seconds_total",
                                    "CPU time of the process, user and system."};
inline constexpr Metric kProcessMemory{kGauge, "process_resident_memory_bytes",
                                       "Resident memory of the process."};
inline constexpr Metric kProcessFiles{kGauge, "process_open_fds",
                                      "Open file descriptors of the process."};

}  // namespace metric
}  // namespace wavefield::coordinator
