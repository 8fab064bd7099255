#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/session.h"
#include "nlohmann/json.hpp"
#include "wavefield/v1/inference_service.pb.h"

namespace wavefield {

// Receives what evaluation, generation or an audit says, in order.
using OnInferenceOutput = std::function<void(const v1::InferenceOutput&)>;

// On a worker of the cluster. Errors: the coordinator's.
absl::Status EvaluateOnCluster(const Session& session, const v1::EvaluateRequest& request,
                               const OnInferenceOutput& on_output);
absl::Status GenerateOnCluster(const Session& session, const v1::GenerateRequest& request,
                               const OnInferenceOutput& on_output);
absl::Status AuditOnCluster(const Session& session, const v1::AuditCausalityRequest& request,
                            const OnInferenceOutput& on_output);

// A dataset's directory on this host: `dataset` itself if it is one, or where the dataset of that
// name lies. NOT_FOUND when that is on another host.
absl::StatusOr<std::string> LocalDatasetDirectory(const std::string& dataset,
                                                  const ConnectionFlags& connection);

// On this host, by `wavefield-trainer` with `arguments`. `flags` are the values of further flags of
// the subcommand `arguments[0]`, for those that are too long for a command line. Its messages go to
// stderr.
absl::Status InferLocally(const std::vector<std::string>& arguments, const nlohmann::json& flags,
                          const OnInferenceOutput& on_output);

}  // namespace wavefield
