#pragma once

#include <functional>
#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "worker/trainer/task.h"

namespace wavefield {

// Receives InferenceOutput messages in JSON.
using OutputSink = std::function<void(const nlohmann::json& output)>;

// Evaluates a checkpoint and emits the result.
absl::Status Evaluate(const EvaluateTask& task, int threads, const OutputSink& sink);

// Continues a prompt by recurrence, piece by piece, then emits a summary. Sampling draws from a
// stream of (seed, position) alone.
absl::Status Generate(const GenerateTask& task, int threads, const OutputSink& sink);

}  // namespace wavefield
