#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "wavefield/v1/dataset_service.pb.h"
#include "wavefield/v1/job_service.pb.h"

namespace wavefield {

// The loss that jobs are timed to.
struct LossTarget {
  bool held_out = false;  // of evaluations; else the smoothed training loss
  std::optional<double> loss;
};
// Evaluations are used where every job has one. Without `loss`: the worst finite one that a job of
// these ended with, which only the histories tell of training loss.
LossTarget ChooseTarget(const std::vector<v1::Job>& jobs, std::optional<double> loss);

// What a job's history says beside the first job's.
struct HistorySummary {
  // Exponential mean of the training loss over about 20 steps, at the last one; NaN before.
  double smoothed_loss = std::numeric_limits<double>::quiet_NaN();
  std::optional<int64_t> tokens_to_target;  // trained on when the loss was first at most the target
  int64_t batches_compared = 0;  // steps of which this and the first job report a batch digest
  int64_t other_batch_step = 0;  // the first at which the digests differ; 0: they are equal
};

// Folds the histories of several jobs in bounded memory. Not thread-safe.
class HistoryFold {
 public:
  HistoryFold(size_t jobs, const LossTarget& target) : target_(target), states_(jobs) {}

  // REQUIRES: steps come in ascending order over all jobs, at equal ones in the order of the jobs.
  void AddStep(size_t job, const v1::StepMetrics& step);
  // `tokens`: trained on before the evaluation.
  void AddEvaluation(size_t job, const v1::EvaluationResult& evaluation, int64_t tokens);
  std::vector<HistorySummary> Summaries() const;

 private:
  struct State {
    HistorySummary summary;
    double mean = 0;
    double weight = 0;
    int64_t compared_step = 0;  // the last: a step that was done again counts once
  };
  static void Reach(State& state, double loss, const std::optional<double>& target, int64_t tokens);

  LossTarget target_;
  std::vector<State> states_;
  int64_t first_job_step_ = 0;
  uint64_t first_job_digest_ = 0;
};

struct ComparedJob {
  v1::Job job;
  std::optional<v1::Dataset> dataset;     // none: the catalogue does not have it any more
  std::optional<double> flops_per_token;  // none: an architecture that this program does not know
  HistorySummary history;
};

// A setting that is not the same in all jobs: its path in the specification, and its value in each
// ("" where it is not set).
struct DifferingSetting {
  std::string path;
  std::vector<std::string> values;
};
std::vector<DifferingSetting> FindDifferingSettings(const std::vector<ComparedJob>& jobs);

// What makes a comparison of these jobs unfair: sentences that name values and jobs.
std::vector<std::string> FindUnfairness(const std::vector<ComparedJob>& jobs);
// What a reader must know beside that: seeds, jobs that have not succeeded, how the target came
// about.
std::vector<std::string> FindRemarks(const std::vector<ComparedJob>& jobs,
                                     const LossTarget& target);

}  // namespace wavefield
