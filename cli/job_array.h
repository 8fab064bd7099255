#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "wavefield/v1/job_service.pb.h"

namespace wavefield {

// A field of the specification and the values that it takes in an array of jobs.
struct GridAxis {
  std::string path;  // "training.seed"
  std::vector<std::string> values;
};

// "training.seed=1,2,3"; values that are lists stand in brackets: "path=[1,2],[3,4]".
// INVALID_ARGUMENT says what such an axis looks like.
absl::StatusOr<GridAxis> ParseGridAxis(const std::string& text);

// One job of an array.
struct ArrayElement {
  v1::CreateJobRequest request;
  std::vector<std::string> values;  // of each axis
};

// Every combination of the axes' values laid over `base`, the last axis changing fastest: jobs
// STEM-0, STEM-1, … with the label array=STEM. INVALID_ARGUMENT where there are more than 1000, an
// axis comes twice, a value does not suit its field, or the ids would be too long.
absl::StatusOr<std::vector<ArrayElement>> ExpandGrid(const v1::JobSpec& base,
                                                     const std::vector<GridAxis>& axes,
                                                     const std::string& stem);

}  // namespace wavefield
