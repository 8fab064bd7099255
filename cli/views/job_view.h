#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/views/table.h"
#include "cli/views/view_style.h"
#include "wavefield/v1/job_service.pb.h"

namespace wavefield {

// JOB_STATE_RUNNING → "RUNNING".
std::string StateName(v1::JobState state);
// JOB_REASON_RANK_DIED → "rank died"; "" when unspecified.
std::string ReasonText(v1::JobReason reason);
bool HasEnded(const v1::Job& job);

// "running" → "RUNNING"; INVALID_ARGUMENT names the nearest states.
absl::StatusOr<std::string> ParseStateName(const std::string& text);

Color StateColor(v1::JobState state);
// The job's message without the lines of logs that may follow it: `explain` shows those.
std::string MessageOf(const v1::Job& job);
// "waiting for slots: needs 2 slots, 1 is free"; "" where nothing is known.
std::string WhyInState(const v1::Job& job);
// "first RUNNING: resumed before step 101": what a command prints of a job it changed.
std::string FormatJobLine(const v1::Job& job);

// The table of `wavefield jobs`.
std::string FormatJobs(const std::vector<v1::Job>& jobs, const ViewStyle& style);
// The page of `wavefield job`.
std::string FormatJob(const v1::Job& job, int64_t checkpoint_count, const ViewStyle& style);
// An enum's value for people: "SLOTS_HELD" and "JOB_REASON_RANK_DIED" (with the prefix
// "JOB_REASON_") → "slots held", "rank died".
std::string EnumText(const std::string& value_name, const std::string& prefix);

// "loss 3.912  perplexity 50.0  12.3k tokens/s".
std::string FormatStep(const v1::StepMetrics& step, double tokens_per_second);
// "step 100: loss 3.912  perplexity 50.0  1.431 bits per byte  accuracy 32.8 %
// (65,536 tokens)".
std::string FormatEvaluation(const v1::EvaluationResult& evaluation);

}  // namespace wavefield
