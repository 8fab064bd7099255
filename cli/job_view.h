#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "wavefield/v1/job_service.pb.h"

namespace wavefield {

// JOB_STATE_RUNNING → "RUNNING".
std::string StateName(v1::JobState state);
// JOB_REASON_RANK_DIED → "rank died"; "" when unspecified.
std::string ReasonText(v1::JobReason reason);
bool HasEnded(const v1::Job& job);

// "running" → "RUNNING"; INVALID_ARGUMENT names the nearest states.
absl::StatusOr<std::string> ParseStateName(const std::string& text);

// The table of `wavefield jobs`.
std::string FormatJobs(const std::vector<v1::Job>& jobs, absl::Time now);
// The page of `wavefield job`.
std::string FormatJob(const v1::Job& job, int64_t checkpoint_count, absl::Time now);

// "loss 3.912  perplexity 50.0  12.3k tokens/s".
std::string FormatStep(const v1::StepMetrics& step, double tokens_per_second);
// "step 100: loss 3.912  perplexity 50.0  1.431 bits per byte  accuracy 32.8 %
// (65,536 tokens)".
std::string FormatEvaluation(const v1::EvaluationResult& evaluation);

}  // namespace wavefield
